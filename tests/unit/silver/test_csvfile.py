"""CSV: both lanes yield equal rows, and every line of a file is accounted for."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.silver import csvfile
from services.silver.csvfile import read_csv
from services.silver.scanner import dialect_of
from shared.catalog import problems_of
from shared.dataset import Dataset
from shared.errors import Rejected
from shared.formats import CsvFormat

CONTRACT = """
dataset: pairs
format: {type: csv}
columns:
  - {name: a, type: text, nullable: true}
  - {name: b, type: text, nullable: true}
primary_key: []
drops: {write_disposition: append}
limits: {record_bytes_max: 4096}
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_from(tmp_path_factory.mktemp("contract") / "pairs.yaml", CONTRACT)


def dataset_from(path: Path, text: str) -> Dataset:
    path.write_text(text)
    found = problems_of(path)
    assert isinstance(found, Dataset), found
    return found


def read(
    content: bytes, dataset: Dataset, block_bytes: int = 4096, batch_rows_max: int = 1000
) -> tuple[list[tuple[int, str, str, str]], list[tuple[int, str]]]:
    """Return (line, a, b, raw) of the rows and (line, rule) of the broken records."""
    rows, broken = [], []
    for records in read_csv(io.BytesIO(content), dataset, block_bytes, batch_rows_max):
        assert records.cells.num_rows <= batch_rows_max
        for index, (line, row) in enumerate(zip(records.line_numbers.tolist(), records.cells.to_pylist(), strict=True)):
            rows.append((line, row["a"], row["b"], records.raw(index)))
        broken += [(b.line_number, b.rule) for b in records.broken]
    return rows, broken


cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
plain = st.text(st.characters(codec="utf-8", exclude_characters='\x00\r\n,"'), max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(plain, plain), max_size=60), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_both_lanes_read_plain_rows_alike(
    pairs: Dataset, rows: list[tuple[str, str]], newline: str, ends_with_newline: bool
) -> None:
    lines = ["a,b", *(f"{a},{b}" for a, b in rows)]
    content = (newline.join(lines) + (newline if ends_with_newline else "")).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csvfile._Reader, "_is_regular", lambda self, stretch: False)
        scanned = read(content, pairs)
    assert read(content, pairs) == scanned
    assert [(a, b) for _, a, b, _ in scanned[0]] == rows


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(cells, cells), max_size=40), st.integers(4096, 9000), st.integers(0, 400))
def test_quoted_cells_survive_whatever_block_they_fall_into(
    pairs: Dataset, rows: list[tuple[str, str]], block_bytes: int, padding: int
) -> None:
    rows = [("p" * padding, "q"), *rows]
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["a", "b"])
    writer.writerows(rows)
    got, broken = read(text.getvalue().encode(), pairs, block_bytes)
    assert ([(a, b) for _, a, b, _ in got], broken) == (rows, [])
    physical = text.getvalue().split("\n")
    for line, a, _, raw in got:
        assert physical[line - 1].startswith(f'"{a.replace(chr(34), chr(34) * 2)}'.split("\n")[0])
        assert raw.startswith('"')


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b"x,y", b'"', b"\n", b",", b"\xff", b"\0", b"ab", b'""']), max_size=40))
def test_no_bytes_crash_the_reader_and_every_line_is_accounted_for(pairs: Dataset, parts: list[bytes]) -> None:
    content = b"a,b\n" + b"".join(parts)
    spans = []
    for records in read_csv(io.BytesIO(content), pairs, 4096, 1000):
        spans += [(line, records.raw(i)) for i, line in enumerate(records.line_numbers.tolist())]
        spans += [(b.line_number, b.raw) for b in records.broken]
    covered = [line + n for line, raw in spans for n in range(raw.count("\n") + 1)]
    lines = content.split(b"\n")
    assert len(set(covered)) == len(covered), "a line belongs to two records"
    not_blank = {n for n, line in enumerate(lines, start=1) if n > 1 and line}
    assert not_blank <= set(covered), "a line belongs to no record"


def test_line_numbers_are_physical(pairs: Dataset) -> None:
    content = b'a,b\n1,x\n"2\n2",y\n\n3,z\n'
    assert read(content, pairs)[0] == [
        (2, "1", "x", "1,x"),
        (3, "2\n2", "y", '"2\n2",y'),
        (6, "3", "z", "3,z"),
    ]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"1,2,3", "ragged"),
        (b"1", "ragged"),
        (b'1,"2"x', "malformed"),
        (b'1,"2', "malformed"),
        (b"1,\xff", "encoding"),
        (b"1,\x00", "nul"),
        (b"1," + b"2" * 5000, "too_long"),
    ],
)
def test_a_broken_record_costs_one_line(pairs: Dataset, line: bytes, rule: str) -> None:
    rows, broken = read(b"a,b\n0,0\n" + line + b"\n9,9\n", pairs)
    assert [row[1] for row in rows] == ["0", "9"]
    assert broken == [(3, rule)]


def test_a_stray_quote_inside_a_cell_is_text(pairs: Dataset) -> None:
    assert read(b'a,b\n5" pipe,1\n6" pipe,2\n', pairs) == (
        [(2, '5" pipe', "1", '5" pipe,1'), (3, '6" pipe', "2", '6" pipe,2')],
        [],
    )


def test_a_byte_order_mark_and_crlf_are_no_part_of_the_data(pairs: Dataset) -> None:
    assert read(b"\xef\xbb\xbfa,b\r\n1,2\r\n", pairs) == ([(2, "1", "2", "1,2")], [])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"a,a\n1,2\n", "the header names 'a' more than once"),
        (b"x,y\n1,2\n", "the header lacks 'a', 'b'"),
        (b"\x00\x01binary\n", "NUL bytes"),
        (b"\xff\xfea\x00,\x00b\x00", "the header cannot be read as utf-8"),
    ],
)
def test_a_file_without_a_usable_header_is_rejected_with_the_reason(pairs: Dataset, content: bytes, said: str) -> None:
    with pytest.raises(Rejected, match=said):
        read(content, pairs)


def test_a_line_that_never_ends_is_rejected_early(pairs: Dataset) -> None:
    class Endless(io.RawIOBase):
        read_bytes = 0

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            self.read_bytes += size
            return b"x" * size

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

    source = Endless()
    with pytest.raises(Rejected, match="a line of more than"):
        next(read_csv(source, pairs, 4096, 1000))  # type: ignore[arg-type]
    assert source.read_bytes < 200_000


def dialect(pairs: Dataset, **chosen: Any) -> Dataset:
    """Return the contract with another dialect."""
    return pairs.model_copy(update={"format": CsvFormat(type="csv", **chosen)})


DIALECTS: list[dict[str, Any]] = [
    {"delimiter": ";"},
    {"delimiter": "\t", "quote": None},
    {"delimiter": "|", "quote": "'"},
    {"delimiter": "§"},
    {"header": False},
    {"header": False, "skip_lines": 2},
    {"skip_lines": 1, "comment": "#"},
    {"comment": "//", "delimiter": ";"},
]
pieces = st.sampled_from(["x", "yy", "", ";", ",", "\t", "|", "§", "'", '"', "#", "//", "#x", " ", "é"])


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(DIALECTS),
    st.lists(st.lists(pieces, max_size=5).map("".join), max_size=30),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(4096, 9000),
)
def test_both_lanes_read_every_dialect_alike(
    pairs: Dataset, chosen: dict[str, Any], lines: list[str], newline: str, block_bytes: int
) -> None:
    dataset = dialect(pairs, **chosen)
    mark = chosen.get("delimiter", ",")
    before = ["before"] * chosen.get("skip_lines", 0) + ([f"a{mark}b"] if chosen.get("header", True) else [])
    regular = [f"p{mark}q"] * 4
    content = newline.join([*before, *regular, *lines, *regular]).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csvfile._Reader, "_is_regular", lambda self, stretch: False)
        scanned = read(content, dataset, block_bytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csvfile, "PLAIN_BYTES_MIN", 1)
        assert read(content, dataset, block_bytes) == scanned
    assert scanned[0][:4] == [(len(before) + n, "p", "q", f"p{mark}q") for n in range(1, 5)]


@pytest.mark.parametrize(
    ("chosen", "content", "rows"),
    [
        ({"header": False}, "1,2\n\n3,4", [(1, "1", "2"), (3, "3", "4")]),
        ({"header": False, "skip_lines": 1, "comment": "#"}, "x,y,z\n# no\n1,2\n#3,4\n5,6", [(3, "1", "2"), (5, "5", "6")]),
        ({"header": False, "skip_lines": 1}, "x,y\n1,2", [(2, "1", "2")]),
        ({"skip_lines": 3}, 'Report "2026\n\nby me\nb,a\n1,2\n', [(5, "2", "1")]),
        ({"comment": "#"}, '# "\n#\na,b\n# it\'s "open\n"1","#2"\n#"\n', [(5, "1", "#2")]),
        ({"delimiter": "\t", "quote": None}, 'a\tb\n"x\t"\n', [(2, '"x', '"')]),
        ({"escape": "\\"}, 'a,b\n"5\\" pipe",x\\,y\n', [(2, '5" pipe', "x,y")]),
        ({"escape": "\\"}, 'a,b\n"1\\\n2",3\\\n4\nz,\\\\\n', [(2, "1\n2", "3\n4"), (5, "z", "\\")]),
    ],
)  # fmt: skip
def test_a_dialect_is_read_as_declared(
    pairs: Dataset, chosen: dict[str, Any], content: str, rows: list[tuple[int, str, str]]
) -> None:
    found, broken = read(content.encode(), dialect(pairs, **chosen))
    assert ([row[:3] for row in found], broken) == (rows, [])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(cells, cells), max_size=40), st.integers(4096, 9000), st.sampled_from([None, '"']), st.booleans()
)
def test_escaped_cells_survive_whatever_block_they_fall_into(
    pairs: Dataset, rows: list[tuple[str, str]], block_bytes: int, quote: str | None, is_doubled: bool
) -> None:
    # A cell that ends with a carriage return is cut by the module `csv` itself when nothing quotes it.
    rows = [("p" * 3000, "q"), *((a, b) for a, b in rows if quote or ("\r" not in a + b and a + b))]
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if quote else csv.QUOTE_NONE
    marks: dict[str, Any] = {"escapechar": "\\", "quotechar": quote, "quoting": quoting, "lineterminator": "\n"}
    writer = csv.writer(text, doublequote=bool(quote) and is_doubled, **marks)
    writer.writerow(["a", "b"])
    writer.writerows(rows)
    got, broken = read(text.getvalue().encode(), dialect(pairs, escape="\\", quote=quote), block_bytes)
    assert ([(a, b) for _, a, b, _ in got], broken) == (rows, [])


def test_a_record_that_stays_open_costs_its_first_line(pairs: Dataset) -> None:
    rows, broken = read(b'a,b\n1,2\n"3\\",4\n5,6\n', dialect(pairs, escape="\\"))
    assert ([row[:3] for row in rows], broken) == ([(2, "1", "2"), (4, "5", "6")], [(3, "malformed")])


@pytest.mark.parametrize("escape", [None, "\\"])
def test_every_line_of_a_record_is_looked_at_once(pairs: Dataset, escape: str | None) -> None:
    """A record of many lines whose quote does not close took the square of its lines."""

    class Counting(bytes):
        looked_at = 0

        def count(self, *arguments: Any) -> int:
            type(self).looked_at += arguments[2] - arguments[1]
            return super().count(*arguments)

        def __getitem__(self, part: Any) -> Any:
            type(self).looked_at += part.stop - part.start
            return super().__getitem__(part)

    data = Counting(b'1,"' + b"x\n" * 5_000)
    declared = dialect(pairs, escape=escape).format
    assert isinstance(declared, CsvFormat)
    bounded = dialect_of(declared, 8_000)
    assert 8_000 < bounded.record_end(data, 0) < 8_010
    assert Counting.looked_at < 8_010


@pytest.mark.parametrize(
    ("chosen", "content", "said"),
    [
        ({"header": False}, b"\n\n", "the file is empty: not even a record"),
        ({"skip_lines": 5}, b"x\na,b\n", "the file is empty: not even a header"),
        ({"comment": "#"}, b"# nothing else\n", "the file is empty: not even a header"),
        ({"skip_lines": 1}, b"x\nc,d\n", "the header lacks 'a', 'b'"),
        ({}, "a,b\n".encode("utf-16"), "line 1: .* declare `encoding: utf-16`"),
        ({"encoding": "utf-16"}, "a,b\n1,2\n".encode("utf-16")[:-1], "byte 1[0-9] is not utf-16, the declared"),
        ({"encoding": "shift_jis"}, b"a,b\n\x81,2\n", "byte 4 is not shift_jis, the declared encoding"),
        (
            {"encoding": "cp1252"},
            b"a,\x81b\n1,2\n",
            "as cp1252 CSV: 1 byte.s. at offset 2 of the record are not cp1252",
        ),
    ],
)
def test_a_file_that_is_not_of_its_dialect_is_rejected(
    pairs: Dataset, chosen: dict[str, Any], content: bytes, said: str
) -> None:
    with pytest.raises(Rejected, match=said):
        read(content, dialect(pairs, **chosen))


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_in_an_encoding_of_one_byte_a_character_a_bad_byte_costs_its_record_alone(pairs: Dataset, quote: bytes) -> None:
    good, bad = b"\xfc,%be\x80%b\n" % (quote, quote), b"\xfc,%b\x80\x81\x8d\x81e%b\n" % (quote, quote)
    content = b"a,b\n" + good * 2000 + bad + good * 2000
    declared = dialect(pairs, encoding="cp1252")
    rows, broken = read(content, declared)
    assert {row[1:3] for row in rows} == {("ü", "e€")}
    assert [row[0] for row in rows] == [n for n in range(2, 4003) if n != 2002]
    assert broken == [(2002, "encoding")]
    parts = [one for records in read_csv(io.BytesIO(content), declared, 4096, 1000) for one in records.broken]
    offset = 3 + len(quote)
    assert [(one.raw, one.message) for one in parts] == [
        (
            f"ü,{quote.decode()}€\\x81\\x8d\\x81e{quote.decode()}",
            f"3 byte(s) at offset {offset} of the record are not cp1252",
        )
    ]


@given(st.binary(max_size=40).map(lambda data: b"a,b\n" + data))
@settings(max_examples=200, deadline=None)
def test_a_byte_that_an_encoding_does_not_know_is_told_from_those_it_does(pairs: Dataset, content: bytes) -> None:
    """As if every bad byte were a NUL, which costs its record, too."""
    unknown = bytes([0x81, 0x8D, 0x8F, 0x90, 0x9D])
    nul = content.translate(bytes(0 if value in unknown else value for value in range(256)))
    ours, theirs = read(content, dialect(pairs, encoding="cp1252")), read(nul, dialect(pairs, encoding="cp1252"))
    assert ours[0] == theirs[0]
    assert [line for line, _ in ours[1]] == [line for line, _ in theirs[1]]


@pytest.mark.parametrize(
    ("encoding", "written_as", "text"),
    [
        ("latin-1", "latin-1", "Zürich,é"),
        ("cp1252", "cp1252", "„Zürich“,€"),
        ("utf-16", "utf-16", "東京,🙂"),
        ("utf-16", "utf-16-be", "\ufeff東京,🙂"),
        ("utf-16-le", "utf-16-le", "\ufeff東京,🙂"),
        ("shift_jis", "shift_jis", "東京,表"),
        ("gb18030", "gb18030", "北京,上海"),
        ("cp1251", "cp1251", "Москва,Тверь"),
    ],
)
def test_other_encodings_are_read_as_declared(pairs: Dataset, encoding: str, written_as: str, text: str) -> None:
    mark, text = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    for newline in ("\n", "\r\n"):
        content = (mark + newline.join(["a,b", *[text] * 3000]) + newline).encode(written_as)
        rows, broken = read(content, dialect(pairs, encoding=encoding))
        assert broken == []
        assert rows == [(n, *text.split(","), text) for n in range(2, 3002)]
