"""A corpus of what goes wrong with CSV files in the world: a small file, one defect in each copy, and the verdict it gets.

Every file has twenty good records (lines 2 to 21). A defect of a record is one more line, the 22nd; a defect of the file
changes the whole. Ids count from a number of the case's own, so that cases do not meet in the table.
"""

import gzip
import io
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

HEADER = "id,Day,Town,Amount,Ratio"
TOWNS = ("Leeds", "Lagos", "Zürich", "Łódź", "東京", "São Paulo", "Cork", "")
GOOD = 20
LAST = GOOD + 2  # the line that a defect of a record is on

CONTRACT = """
dataset: orders
format: {type: csv}
columns:
  - {name: id, type: integer}
  - {name: day, from: Day, type: date}
  - {name: town, from: Town, type: text, nullable: true}
  - {name: amount, from: Amount, type: decimal, precision: 12, scale: 2, nullable: true}
  - {name: ratio, from: Ratio, type: double, nullable: true}
primary_key: [id]
limits: {bad_rows_max_share: 0.4, record_bytes_max: 65536}
"""


@dataclass(frozen=True)
class Case:
    """One defect and its verdict."""

    name: str
    content: Callable[[int], bytes]  # by the first id
    rejected: str = ""  # what the message says; empty: the file is loaded
    read: int = GOOD
    quarantined: tuple[tuple[int, tuple[str, ...]], ...] = ()  # line and rules
    duplicate: int = 0
    stored: dict[str, Any] = field(default_factory=dict)  # of the last id: values by column, as text
    rescued: int = 0  # rows with values that the contract does not know


def rows(first: int) -> list[str]:
    """Return the good records of a case."""
    chance = random.Random(first)
    return [
        f"{first + n},2026-{1 + n % 12:02d}-{1 + n:02d},{chance.choice(TOWNS)},{chance.randint(-99999, 99999) / 100:.2f},"
        f"{chance.random():.6f}"
        for n in range(GOOD)
    ]


def text(first: int, *more: str, header: str = HEADER, end: str = "\n") -> str:
    """Return a whole file."""
    return end.join([header, *rows(first), *more]) + end


def last_id(first: int) -> int:
    """Return the id of the record that has the defect."""
    return first + GOOD


def _line(name: str, line: str | bytes, *rules: str, **stored: Any) -> Case:
    """Return a case of one odd line behind the good ones; `{id}` is its id. Without rules it is loaded, as `stored`."""
    raw = line if isinstance(line, bytes) else line.encode()

    def content(first: int) -> bytes:
        return text(first).encode() + raw.replace(b"{id}", str(last_id(first)).encode()) + b"\n"

    verdict = ((LAST, rules),) if rules else ()
    return Case(name, content, read=GOOD + 1, quarantined=verdict, stored=stored)


def _town(name: str, town: str, *rules: str, kept: str | None = None) -> Case:
    """Return a case of an odd text, which is kept as it is."""
    stored = {} if rules else {"town": town if kept is None else kept}
    return _line(name, f"{{id}},2026-03-01,{town},1.50,0.5", *rules, **stored)


def _amount(name: str, amount: str, kept: str | None = None) -> Case:
    """Return a case of an odd decimal: kept as some number, else set aside."""
    rules = () if kept is not None else ("type",)
    return _line(name, f"{{id}},2026-03-01,Leeds,{amount},0.5", *rules, **({} if kept is None else {"amount": kept}))


def _ratio(name: str, ratio: str, kept: str | None = None) -> Case:
    rules = () if kept is not None else ("type",)
    return _line(name, f"{{id}},2026-03-01,Leeds,1.50,{ratio}", *rules, **({} if kept is None else {"ratio": kept}))


def _day(name: str, day: str, kept: str | None = None) -> Case:
    rules = () if kept is not None else ("type",)
    return _line(name, f"{{id}},{day},Leeds,1.50,0.5", *rules, **({} if kept is None else {"day": kept}))


def _id(name: str, key: str, *rules: str) -> Case:
    return _line(name, f"{key},2026-03-01,Leeds,1.50,0.5", *rules)


def _file(name: str, content: Callable[[int], str | bytes], rejected: str = "", **verdict: Any) -> Case:
    """Return a case of an odd file."""

    def raw(first: int) -> bytes:
        made = content(first)
        return made if isinstance(made, bytes) else made.encode()

    return Case(name, raw, rejected, **verdict)


def _structure() -> Iterator[Case]:
    yield _line("a short record", "{id},2026-03-01,Leeds", "ragged")
    yield _line("a long record", "{id},2026-03-01,Leeds,1.50,0.5,more", "ragged")
    yield _line("a trailing delimiter on one line", "{id},2026-03-01,Leeds,1.50,0.5,", "ragged")
    yield _line("another delimiter on one line", "{id};2026-03-01;Leeds;1.50;0.5", "ragged")
    yield _line("an unquoted delimiter in a text", "{id},2026-03-01,Leeds, Yorkshire,1.50,0.5", "ragged")
    yield _line("an unclosed quote", '{id},2026-03-01,"Leeds,1.50,0.5', "malformed")
    yield _line("a quote that closes too early", '{id},2026-03-01,"Leeds" West,1.50,0.5', "malformed")
    yield _line("a lone quote", '{id},2026-03-01,",1.50,0.5', "malformed")
    yield _line("a NUL byte", b"{id},2026-03-01,Le\0eds,1.50,0.5", "nul")
    yield _line("a byte of Latin-1", b"{id},2026-03-01,Z\xfcrich,1.50,0.5", "encoding")
    yield _line("a byte of cp1252", b"{id},2026-03-01,\x93Leeds\x94,1.50,0.5", "encoding")
    yield _line("half a surrogate pair in UTF-8", b"{id},2026-03-01,\xed\xa0\x80,1.50,0.5", "encoding")
    yield _line("an overlong sequence", b"{id},2026-03-01,\xc0\xaf,1.50,0.5", "encoding")
    yield _line("a line of 1 MB", b"{id},2026-03-01," + b"x" * 1_000_000 + b",1.50,0.5", "too_long")
    yield _line("the header again", HEADER, "type", "type", "type", "type")
    yield _line("a line of totals", "Total,,,12345.00,", "type", "not_null")
    yield _line("a footer", "-- end of report --", "ragged")
    yield _line("a row count of psql", "(20 rows)", "ragged")
    yield _line("a conflict marker", "<<<<<<< HEAD", "ragged")
    yield _line("an error message in the middle", "Fatal error: Allowed memory size exhausted", "ragged")
    yield _line("nothing but delimiters", ",,,,", "not_null", "not_null")
    yield _line("nothing but spaces", "   ", "ragged")


def _keys() -> Iterator[Case]:
    yield _id("no key", "", "not_null")
    yield _id("a key of white space", "  ", "type")
    yield _id("a word for a key", "abc", "type")
    yield _id("a key written as a decimal", "{id}.0", "type")
    yield _id("a key beyond 64 bits", "9223372036854775808", "type")
    yield _id("a key with leading zeros", "000{id}")
    yield _id("a key with a plus", "+{id}")
    yield _file("a record twice", lambda f: text(f, rows(f)[3]), read=GOOD + 1, duplicate=1)
    yield _file(
        "two records of one key", lambda f: text(f, f"{f + 3},2026-09-09,Cork,7.00,0.1"), read=GOOD + 1,
        quarantined=((5, ("duplicate_key",)),),
    )  # fmt: skip
    yield _file(
        "the better record of a key comes first", lambda f: text(f, f"{f + 3},2026-09-31,Cork,7.00,0.1"), read=GOOD + 1,
        quarantined=((LAST, ("type",)),),
    )  # fmt: skip


def _days() -> Iterator[Case]:
    for name, day in {
        "day.month.year": "01.03.2026", "month/day/year": "03/01/2026", "day/month/year": "31/03/2026",
        "year-day-month": "2026-22-01", "a 31 February": "2026-02-31", "a 29 February of no leap year": "2026-02-29",
        "month 13": "2026-13-01", "day 0": "2026-03-00", "year 0": "0000-03-01", "a year of five digits": "12026-03-01",
        "a year of two digits": "26-03-01", "a date with a time": "2026-03-01 00:00:00", "a month's name": "1 Mar 2026",
        "a serial number of Excel": "46082", "an ISO week": "2026-W09-7", "a date without dashes": "20260301",
        "a date without zeros": "2026-3-1", "digits of another script": "٢٠٢٦-٠٣-٠١", "a space behind a date": "2026-03-01 ",
        "dashes that are none": "2026–03–01", "a date in apostrophes": "'2026-03-01'", "tomorrow": "tomorrow",
    }.items():  # fmt: skip
        yield _day(f"date: {name}", day)
    yield _day("date: a 29 February of a leap year", "2028-02-29", "2028-02-29")
    yield _day("date: in quotes", '"2026-03-01"', "2026-03-01")
    yield _line("date: none", "{id},,Leeds,1.50,0.5", "not_null")


def _numbers() -> Iterator[Case]:
    for name, amount in {
        "a comma between thousands": '"1,234.50"', "a decimal comma": '"1,50"', "a space between thousands": "1 234.50",
        "a no-break space between thousands": "1\u00a0234.50", "an apostrophe between thousands": "1'234.50",
        "a point between thousands": "1.234.567", "a percent sign": "12%", "a currency in front": "€12.50",
        "a currency behind": "12.50 EUR", "an amount in parentheses": "(12.50)", "a minus behind": "12.50-",
        "a minus that is none": "−12.50", "three places of two": "1.234", "too many digits": "99999999999.00",
        "a huge integer": "9" * 40, "hexadecimal": "0x1F", "underscores": "1_000", "wide digits": "１２", "a fraction": "½",
        "a no-break space around": "\u00a012.50", "a space in front": " 12.50", "a zero-width space": "12\u200b.50",
        "#N/A": "#N/A", "#REF!": "#REF!", "#VALUE!": "#VALUE!", "#DIV/0!": "#DIV/0!", "a formula": "=1+1", "NULL": "NULL",
        "N/A": "N/A", r"\N": r"\N", "a dash": "-", "a question mark": "?", "yes": "TRUE", "NaN": "NaN",
        "a unit": "12.50 kg", "an approximation": "~12", "a bound": "<0.05", "a range": "10-12", "two points": "1..5",
        "an exponent too small": "1e-5",
    }.items():  # fmt: skip
        yield _amount(f"number: {name}", amount)
    for name, amount, kept in (
        ("scientific notation", "1.5e3", "1500.00"), ("leading zeros", "007.50", "7.50"), ("a plus", "+5.00", "5.00"),
        ("negative zero", "-0.00", "0.00"), ("no place behind the point", "5.", "5.00"),
        ("no digit before it", ".5", "0.50"),
        ("more zeros than places", "1.5000000", "1.50"),
    ):  # fmt: skip
        yield _amount(f"number: {name}", amount, kept)
    for name, ratio in {"NaN": "NaN", "Infinity": "Infinity", "-inf": "-inf", "a number too large": "1e400"}.items():
        yield _ratio(f"double: {name}", ratio)
    for name, ratio, kept in (
        ("negative zero", "-0.0", "0"), ("a tiny number", "1e-320", "1e-320"), ("a large number", "1E+300", "1e+300"),
    ):  # fmt: skip
        yield _ratio(f"double: {name}", ratio, kept)


def _texts() -> Iterator[Case]:
    for name, town in {
        "a formula": "=CMD()", "a formula with a plus": "+1+1", "a formula with a minus": "-2+3", "an at sign": "@SUM(A1)",
        "a DDE call": "=cmd|' /C calc'!A0", "a formula behind a tab": "\t=1+1", "a zero-width space": "Le\u200beds",
        "a soft hyphen": "Le\u00adeds", "a right-to-left mark": "\u200fLeeds", "an override of direction": "\u202esdeeL",
        "an emoji": "Leeds 🏭", "a family of emoji": "👨\u200d👩\u200d👧", "a flag": "🇬🇧",
        "a combining accent": "Zu\u0308rich",
        "control characters": "Le\x01\x1b[31meds\x7f", "a backspace": "Le\x08eds", "a vertical tab": "Le\x0beds",
        "a form feed": "Le\x0ceds", "next line": "Le\x85eds", "a line separator": "Le\u2028eds", "a BOM": "\ufeffLeeds",
        "a no-break space": "São\u00a0Paulo", "a noncharacter": "Le\uffffeds",
        "double encoding": "ZÃ¼rich",
        "white space around": "  Leeds  ", "HTML": "<b>Leeds</b>&amp;", "SQL": "'); DROP TABLE x;--",
        "a backslash": "Le\\eds",
        "lost before": "Z�rich", "a stray quote": 'Le"eds', "an apostrophe": "O'Fallon", "the word null": "null",
        "60 kB": "x" * 60_000, "an Excel error": "#NAME?", "a path": "../../etc/passwd", "a template": "${jndi:ldap://x}",
    }.items():  # fmt: skip
        yield _town(f"text: {name}", town)
    yield _town(
        "text: a formula in quotes",
        '"=HYPERLINK(""http://x.example"",""click"")"',
        kept='=HYPERLINK("http://x.example","click")',
    )
    yield _town("text: a delimiter in quotes", '"Leeds, Yorkshire"', kept="Leeds, Yorkshire")
    yield _town("text: a line break in quotes", '"Leeds\nWest"', kept="Leeds\nWest")
    yield _town("text: a CRLF in quotes", '"Leeds\r\nWest"', kept="Leeds\r\nWest")
    yield _town("text: doubled quotes", '"the ""old"" town"', kept='the "old" town')
    yield _line("text: empty quotes", '{id},2026-03-01,"",1.50,0.5', town=None)


def _files() -> Iterator[Case]:
    yield _file("a byte order mark", lambda f: "\ufeff" + text(f))
    yield _file("CRLF", lambda f: text(f, end="\r\n"))
    yield _file("mixed line ends", lambda f: text(f).replace("\n", "\r\n", 9))
    yield _file("no line break at the end", lambda f: text(f).rstrip("\n"))
    yield _file("blank lines between records", lambda f: text(f).replace("\n", "\n\n"))
    yield _file("blank lines at the end", lambda f: text(f) + "\n\r\n\n")
    yield _file("everything in quotes", lambda f: "".join(
        ",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in text(f).splitlines()))  # fmt: skip
    yield _file("columns in another order", lambda f: "".join(
        ",".join(reversed(line.split(","))) + "\n" for line in text(f).splitlines()))  # fmt: skip
    yield _file("a column more", lambda f: "".join(
        f"{line},{'Note' if n == 0 else n}\n" for n, line in enumerate(text(f).splitlines())), rescued=GOOD)  # fmt: skip
    yield _file("a delimiter at the end of every line", lambda f: text(f).replace("\n", ",\n"), rescued=GOOD)
    yield _file("spaces around the header's names", lambda f: text(f, header=" id , Day,Town , Amount ,Ratio"))
    yield _file("gzip", lambda f: gzip.compress(text(f).encode()))
    yield _file("cut off in the middle of a line", lambda f: text(f)[: -len(rows(f)[-1]) + 9], read=GOOD,
                quarantined=((GOOD + 1, ("ragged",)),))  # fmt: skip
    yield _file("cut off in the middle of a character", lambda f: text(f).encode() + b"9,2026-03-01,Z\xc3", read=GOOD + 1,
                quarantined=((LAST, ("encoding",)),))  # fmt: skip
    yield _file("cut off within quotes", lambda f: text(f) + '9,2026-03-01,"Leeds\nWe', read=GOOD + 2,
                quarantined=((LAST, ("malformed",)), (LAST + 1, ("ragged",))))  # fmt: skip
    yield _file("five bad lines", lambda f: text(f, *["x"] * 5), read=GOOD + 5,
                quarantined=tuple((LAST + n, ("ragged",)) for n in range(5)))  # fmt: skip
    yield _file("more bad lines than allowed", lambda f: text(f, *["x"] * 15), "15 of 35")
    yield _file("dates that are all of another form", lambda f: text(f).replace("2026-", "26-"), "day")
    yield _file("a header only", lambda f: HEADER + "\n", read=0)
    yield _file("nothing", lambda f: b"", "empty")
    yield _file("line breaks only", lambda f: "\n\n\n", "empty")
    yield _file("spaces only", lambda f: "   \n", "lacks")
    yield _file("no header", lambda f: text(f).partition("\n")[2], "the header lacks")
    yield _file("a title above the header", lambda f: "Orders of March\n" + text(f), "the header lacks")
    yield _file("another delimiter", lambda f: text(f).replace(",", ";"), "the header lacks")
    yield _file("tabs", lambda f: text(f).replace(",", "\t"), "the header lacks")
    yield _file("carriage returns alone", lambda f: text(f, end="\r"), "header")
    yield _file("UTF-16", lambda f: text(f).encode("utf-16"), "encoding: utf-16")
    yield _file("a name twice in the header", lambda f: text(f, header="id,Day,Town,Amount,Amount"), "more than once")
    yield _file("a column renamed", lambda f: text(f, header="id,Day,City,Amount,Ratio"), "'Town'")
    yield _file("names of another case", lambda f: text(f, header=HEADER.upper()), "lacks")
    yield _file("a column missing", lambda f: "".join(
        line.rpartition(",")[0] + "\n" for line in text(f).splitlines()), "'Ratio'")  # fmt: skip
    yield _file(
        "a web page", lambda f: "<!DOCTYPE html>\n<html><body>503 Service Unavailable</body></html>\n", "<!DOCTYPE"
    )
    yield _file("XML", lambda f: '<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code></Error>\n', "<?xml")
    yield _file("JSON", lambda f: '[{"id": 1}]\n', "the header lacks")
    yield _file("a truncated gzip", lambda f: gzip.compress(text(f).encode())[:-20], "truncated")
    yield _file("a damaged gzip", lambda f: gzip.compress(text(f).encode(), 0)[:40] + b"\0" * 60, "gzip")
    yield _file("gzip within gzip", lambda f: gzip.compress(gzip.compress(text(f).encode())), "compressed twice")
    yield _file("a zip of two files", lambda f: _zipped(text(f), text(f)), "2 files")
    yield _file("a spreadsheet", lambda f: _zipped(text(f), name="[Content_Types].xml"), "save the sheet as CSV")
    yield _file("an image", lambda f: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), "header")
    yield _file("zeros", lambda f: bytes(4096), "NUL")


def _zipped(*contents: str, name: str = "") -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(name or f"{number}.csv", content)
    return held.getvalue()


CASES = [*_structure(), *_keys(), *_days(), *_numbers(), *_texts(), *_files()]
