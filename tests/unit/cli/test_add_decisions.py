"""What `medallion add` makes of files: dialect, encoding, types, keys, names, and what it says of what is uncertain."""

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cli.__main__ import main
from services.cli.add import keys
from services.cli.add.command import _choices
from services.cli.add.contract import checked, contract_text
from services.cli.add.draft import Draft, Hints, draft
from services.cli.add.keys import Cells, key_candidates
from services.cli.add.names import column_names, dataset_name
from services.cli.add.questions import ask_key, ask_types, declared_type
from services.cli.add.sample import opened
from shared.errors import ConfigurationError, MedallionError, Rejected
from shared.settings import load_settings

SETTINGS = load_settings(config_dir=Path(__file__).parent / "nowhere")
Look = Callable[..., Draft]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    def looked(content: str | bytes, **hints: Any) -> Draft:
        path = tmp_path / "sample.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with opened(str(path), SETTINGS) as sample:
            return draft(sample, Hints(**hints), SETTINGS)

    return looked


def types(found: Draft) -> dict[str, Any]:
    """Return the declarations by column; the type alone where it needs no more."""
    declared = {column.name: column.decision.declared for column in found.columns}
    return {name: one["type"] if len(one) == 1 else one for name, one in declared.items()}


def column(look: Look, *cells: str, **hints: Any) -> tuple[Any, str]:
    """Return the type and the note of a column that holds some cells, in a file of two columns by semicolon."""
    found = look("\n".join(["n;x", *(f"{n};{cell}" for n, cell in enumerate(cells))]), **hints)
    return types(found)["x"], found.columns[1].decision.note


@pytest.mark.parametrize(
    ("cells", "declared"),
    [
        (("1", "-2", "+3"), "integer"),
        (("1.50", "2", "-0.125"), {"type": "decimal", "precision": 18, "scale": 3}),
        (("1e5", "2.5"), "double"),
        (("007", "12"), "text"),
        (("12345678901234567890", "1"), {"type": "decimal", "precision": 38, "scale": 0}),
        (("9" * 50, "1"), "text"),
        (("true", "FALSE", "yes"), "boolean"),
        (("0", "1"), "integer"),
        (("2020-01-31", "2020-12-01"), "date"),
        (("31.01.2020", "1.12.2020"), {"type": "date", "format": "%d.%m.%Y"}),
        (("01/31/2020", "03/04/2020"), {"type": "date", "format": "%m/%d/%Y"}),
        (("31/01/2020", "03/04/2020"), {"type": "date", "format": "%d/%m/%Y"}),
        (("2020-22-01", "2020-01-02"), {"type": "date", "format": "%Y-%d-%m"}),
        (("1 May 2020", "2 May 2021"), {"type": "date", "format": "%d %b %Y"}),
        (("2020-01-31T10:00:00Z", "2020-01-31 10:00:00+02:00"), "timestamp"),
        (("31.01.2020 10:00", "01.02.2020 11:30"), {"type": "timestamp", "format": "%d.%m.%Y %H:%M"}),
        (("Thu, 02 Jan 2020 01:00:00 +0200",), {"type": "timestamp", "format": "%a, %d %b %Y %H:%M:%S %z"}),
        (("12%", "3%"), "text"),
        (("€12", "€3"), "text"),
        (("", ""), "text"),
        (("2020-01-31", "31.01.2020"), "text"),
    ],
)
def test_a_type_is_what_every_value_is_of(look: Look, cells: tuple[str, ...], declared: Any) -> None:
    assert column(look, *cells)[0] == declared


def test_a_date_of_two_readings_stays_text_until_somebody_says(look: Look) -> None:
    found = look("id,day\n1,03/04/2020\n2,05/06/2021\n")
    assert types(found) == {"id": "integer", "day": "text"}
    (day,) = found.open_columns
    assert day.decision.readings == ("date:%d/%m/%Y", "date:%m/%d/%Y")
    assert "'03/04/2020' can be read as %d/%m/%Y or %m/%d/%Y" in day.decision.note
    answered = ask_types(found, lambda question, answers, default: answers[1])
    assert types(answered)["day"] == {"type": "date", "format": "%m/%d/%Y"}
    assert types(ask_types(found, lambda question, answers, default: default))["day"] == "text"


def test_the_comma_of_numbers_is_told_by_a_value_that_can_be_read_in_one_way(look: Look) -> None:
    found = look("id;a;b\n1;1.234;1,5\n2;1.234.567;2,25\n")
    assert (found.marks.decimal, found.marks.thousands) == (",", ".")
    assert types(found) == {"id": "integer", "a": "integer", "b": {"type": "decimal", "precision": 18, "scale": 2}}


def test_a_comma_of_two_readings_stays_text_until_somebody_says(look: Look) -> None:
    content = "id;a\n1;1,234\n2;5,678\n"
    found = look(content)
    assert (found.is_numeral_open, types(found)["a"]) == (True, "text")
    assert "numbers such as 1,234 can be read as 1.234 and as 1234" in found.notes[0]
    assert types(look(content, decimal=","))["a"] == {"type": "decimal", "precision": 18, "scale": 3}
    assert types(look(content, thousands=","))["a"] == "integer"


def test_words_for_no_value_are_declared_and_said(look: Look) -> None:
    found = look("id,n,town\n1,5,NA\n2,N/A,Leeds\n3,,York\n")
    assert types(found) == {"id": "integer", "n": "integer", "town": "text"}
    assert (found.null_words, found.columns[1].is_nullable) == (("N/A",), True)
    assert found.columns[1].decision.note == "read as no value: 'N/A' (1×)"


def test_a_few_mistakes_among_many_values_are_no_reason_for_text(look: Look) -> None:
    declared, note = column(look, *(str(n) for n in range(200)), "about 7")
    assert declared == "integer"
    assert note == "1 of 201 values are none (line 202: 'about 7'): their rows go to quarantine"
    assert column(look, "1", "2", "about 7")[0] == "text"


@pytest.mark.parametrize(
    ("content", "dialect"),
    [
        ("a,b\n1,2\n", (",", '"', 0, 1)),
        ("a;b\n1,5;2\n3,5;4\n", (";", '"', 0, 1)),
        ("a\tb\n1\t2\n", ("\t", '"', 0, 1)),
        ("a|b\n1|2\n", ("|", '"', 0, 1)),
        ('a;b\n"x;y";2\n', (";", '"', 0, 1)),
        ("a;b\n'x;y';2\n'z';3\n", (";", "'", 0, 1)),
        ("Report of May\n\na;b\n1;2\n3;4\n", (";", '"', 2, 3)),
        ("# made by x\na;b\n1;2\n# more\n3;4\n", (";", '"', 0, 2)),
        ("a\n1\n2\n", (",", '"', 0, 1)),
        ('a\tb\n"x\t1\ny\t2\n', ("\t", None, 0, 1)),
        ("1;2020-01-01;x\n2;2020-01-02;y\n", (";", '"', 0, 0)),
    ],
)
def test_a_dialect_is_found(look: Look, content: str, dialect: tuple[Any, ...]) -> None:
    found = look(content).dialect
    assert found is not None
    assert (found.delimiter, found.quote, found.skip_lines, found.lines_before) == dialect


def test_a_header_that_cannot_be_used_by_name_is_skipped_and_columns_go_by_position(look: Look) -> None:
    found = look("id,note,note,\n1,a,b,\n2,c,d,e\n")
    assert found.dialect is not None
    assert (found.dialect.header, found.dialect.skip_lines) == ((), 1)
    assert [(c.name, c.origin) for c in found.columns] == [("id", ""), ("note", ""), ("note_2", ""), ("column_4", "")]
    assert any("columns go by position" in note for note in found.notes)


@pytest.mark.parametrize(
    ("content", "encoding", "note"),
    [
        ("id,town\n1,Zürich\n".encode(), "utf-8", None),
        ("\ufeffid,town\n1,Zürich\n".encode(), "utf-8", None),
        ("id,town\n1,Zürich\n".encode("utf-16"), "utf-16", None),
        ("id,town\n1,Zürich\n".encode("utf-16-le"), "utf-16-le", "a guess"),
        ("id,town\n1,Zürich\n".encode("cp1252"), "cp1252", "line 2 holds bytes that are not UTF-8"),
        (b"id,town\n" + "1,Zürich\n".encode() * 9 + b"1,Z\xfcrich\n", "utf-8", "go to quarantine"),
    ],
)
def test_an_encoding_is_certain_or_said_to_be_a_guess(
    look: Look, content: bytes, encoding: str, note: str | None
) -> None:
    found = look(content)
    assert found.encoding == encoding
    said = [one for one in found.notes if one.startswith("encoding")]
    assert (not said) if note is None else (note in said[0])


def test_json_is_flattened_to_paths_and_lists_are_kept(look: Look) -> None:
    items = [{"id": 1, "place": {"city": "Łódź", "geo": {"lat": "51.7"}}, "tags": [1, "x"]}, {"id": 2, "place": None}]
    for content, kind in ((json.dumps(items), "json"), ("\n".join(map(json.dumps, items)), "jsonl")):
        found = look(content)
        assert (found.kind, found.keys) == (kind, (("id",),))
        assert [(c.origin, c.is_nullable) for c in found.columns] == [
            ("id", False), ("place.city", True), ("place.geo.lat", True), ("tags", True),
        ]  # fmt: skip
        assert types(found)["tags"] == "json"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "sample.csv: the file is empty"),
        (b" \n\n", "sample.csv:1: it holds nothing but white space"),
        (b"#a\n#b\n", "sample.csv:1: no line of it looks like a record"),
        (b"a,b\n", "sample.csv:1: there is a header and no record below it"),
        (b"<!DOCTYPE html><html>", "sample.csv:1: it is a web page or XML"),
        (b"%PDF-1.7", "it is a PDF document, which is not read; export the table as CSV"),
        (bytes(range(32)) * 50, "sample.csv: it holds binary data"),
        (b"a,b\r1,2\r", "sample.csv:1: its lines end with a carriage return alone"),
        (b'{\n "items": []\n}', "sample.csv:1: it is one JSON object over several lines"),
        (b"[]", "no record in it can be read"),
        (b'[{"a": 1}', "the file is truncated"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "truncated"),
    ],
)
def test_a_file_without_records_is_refused_with_the_remedy(look: Look, content: bytes, said: str) -> None:
    with pytest.raises(Rejected) as raised:
        look(content)
    assert said in str(raised.value)
    assert "sample.csv" in str(raised.value)


def test_compressed_files_are_looked_into(look: Look, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "it.zip", "w") as archive:
        archive.writestr("a.csv", "id,n\n1,2\n")
    assert types(look((tmp_path / "it.zip").read_bytes())) == {"id": "integer", "n": "integer"}
    assert types(look(gzip.compress(b"id,n\n1,2\n"))) == {"id": "integer", "n": "integer"}


def test_names_follow_the_rules_and_no_two_are_the_same() -> None:
    given_names = ["postId", "Country/Region", "order", "2020", "Größe (cm)", "日付", "% share", "x", "X", "HTTPStatus"]
    assert column_names(given_names) == [
        "post_id", "country_region", "order_value", "column_2020", "grosse_cm", "column_6", "percent_share", "x", "x_2",
        "http_status",
    ]  # fmt: skip
    assert [dataset_name(n) for n in ("Umsätze 2026.csv.gz", "order.json", "2026.csv")] == [
        "umsatze_2026", "order_value", "dataset_2026",
    ]  # fmt: skip


def cells(folder: Path, columns: dict[str, list[str | None]], rows_at_a_time: int) -> Cells:
    made = Cells(folder)
    count = len(next(iter(columns.values())))
    for start in range(0, count, rows_at_a_time):
        part = {n: pa.array(v[start : start + rows_at_a_time], pa.string()) for n, v in columns.items()}
        made.take(part, min(rows_at_a_time, count - start))
    return made


@settings(max_examples=40)
@given(
    st.lists(st.tuples(*[st.sampled_from(["a", "b", "", None])] * 3), min_size=1, max_size=30),
    st.integers(1, 9),
    st.integers(2, 9),
)
def test_a_key_is_one_of_the_whole_sample_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str | None, ...]], rows_at_a_time: int, part_rows: int
) -> None:
    columns = {name: [row[i] for row in rows] for i, name in enumerate("xyz")}
    made = cells(tmp_path_factory.mktemp("cells"), columns, rows_at_a_time)
    before, keys._PART_ROWS = keys._PART_ROWS, part_rows
    try:
        for chosen in (("x",), ("x", "y"), ("x", "y", "z")):
            values = [tuple(row["xyz".index(name)] or "" for name in chosen) for row in rows]
            assert made.is_unique(chosen) == (len(set(values)) == len(values))
    finally:
        keys._PART_ROWS = before


def test_several_columns_are_a_key_and_amounts_are_believed_last(tmp_path: Path) -> None:
    columns: dict[str, list[str | None]] = {
        "day": ["1", "1", "2", "2"], "town": ["a", "b", "a", "b"], "count": ["7", "8", "9", "9"],
    }  # fmt: skip
    found = key_candidates(cells(tmp_path, columns, 3), ["day", "town", "count"], ["day", "town", "count"], ["count"])
    assert found == [("day", "town"), ("town", "count")]


def test_the_likeliest_key_is_named_like_one(look: Look) -> None:
    found = look("name,score,user_id\nann,1,7\nbob,2,8\n")
    assert found.keys == (("user_id",), ("name",), ("score",))
    answers = {"7": "name, score", "none": "none"}
    assert ask_key(found, lambda question, offered, default: answers["7"]) == ("name", "score")
    assert ask_key(found, lambda question, offered, default: default) == ("user_id",)
    assert ask_key(found, lambda question, offered, default: answers["none"]) == ()


def test_a_file_that_no_columns_tell_apart_is_appended(look: Look, tmp_path: Path) -> None:
    found = look("day,town\n2020-01-01,a\n2020-01-01,a\n")
    assert found.keys == ()
    with opened(str(tmp_path / "sample.csv"), SETTINGS) as sample:
        chosen = _choices(
            sample, found, None, name="visits", description="", key=None, references=[], source_url=None,
            poll_interval_seconds=60, disposition=None,
        )  # fmt: skip
    dataset = checked(contract_text(found, chosen, "sample.csv"), "visits", tmp_path)
    assert (dataset.drops.write_disposition, dataset.primary_key) == ("append", ())


@pytest.mark.parametrize(
    ("said", "declared"),
    [
        ("integer", {"type": "integer"}),
        ("date:%d/%m/%Y", {"type": "date", "format": "%d/%m/%Y"}),
        ("decimal:12,2", {"type": "decimal", "precision": 12, "scale": 2}),
    ],
)
def test_a_type_is_said_in_one_word(said: str, declared: dict[str, Any]) -> None:
    assert declared_type(said) == declared


@pytest.mark.parametrize("said", ["number", "integer:5", "decimal:x", ""])
def test_a_type_that_is_none_is_refused_with_those_there_are(said: str) -> None:
    with pytest.raises(ConfigurationError, match="--type: "):
        declared_type(said)


def run(*arguments: str) -> int | None:
    with pytest.raises(SystemExit) as ended:
        main(["add", *arguments])
    return int(ended.value.code or 0)


def test_the_contract_is_written_once_and_says_what_is_uncertain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config" / "datasets").mkdir(parents=True)
    sample = tmp_path / "Daily orders.csv"
    sample.write_text('Order ID;Day;"Net; €"\n1;03/04/2020;5\n2;05/06/2020;7\n')
    options = (str(sample), "--config-dir", str(tmp_path / "config"), "--yes")
    assert run(*options) == 0
    path = tmp_path / "config" / "datasets" / "daily_orders.yaml"
    text = path.read_text()
    assert yaml.safe_load(text) == {
        "dataset": "daily_orders",
        "description": "From Daily orders.csv.",
        "drops": {"write_disposition": "merge"},
        "format": {"type": "csv", "encoding": "utf-8", "delimiter": ";"},
        "columns": [
            {"name": "order_id", "from": "Order ID", "type": "integer"},
            {"name": "day", "from": "Day", "type": "text"},
            {"name": "net", "from": "Net; €", "type": "integer"},
        ],
        "primary_key": ["order_id"],
    }
    assert "(--type day=date:%d/%m/%Y or --type day=date:%m/%d/%Y)" in text
    assert "uncertain: day: '03/04/2020' can be read as" in capsys.readouterr().out
    assert run(*options) == 2
    assert "is there already; choose another name with --name, or write over it with --force" in capsys.readouterr().err
    assert run(*options, "--force", "--type", "Day=date:%d/%m/%Y", "--write-disposition", "append") == 0
    assert yaml.safe_load(path.read_text())["columns"][1] == {
        "name": "day", "from": "Day", "type": "date", "format": "%d/%m/%Y",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--key", "nothing"), "--key: no column is called 'nothing'; there are: id, n"),
        (("--references", "n"), "must be COLUMN=DATASET.KEY"),
        (("--references", "n=towns.id"), "no dataset is called 'towns'"),
        (("--type", "n"), "must be COLUMN=TYPE"),
        (("--encoding", "klingon"), "is no text encoding"),
        (("--name", "Order"), "--name: 'Order' is not a usable name"),
        (("--name", "../x"), "--name: '../x' is not a usable name"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "a.csv").write_text("id,n\n1,2\n2,2\n")
    assert run(str(tmp_path / "a.csv"), "--config-dir", str(tmp_path), "--yes", *options) == 2
    assert said in capsys.readouterr().err
    assert list((tmp_path / "datasets").iterdir()) == []


awkward = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=9)


@settings(max_examples=25)
@given(st.lists(st.lists(awkward, min_size=2, max_size=4), min_size=1, max_size=6), st.sampled_from(",;\t|"))
def test_whatever_a_file_holds_its_contract_is_valid_or_it_is_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "any.csv").write_text("\n".join(delimiter.join(row) for row in rows), encoding="utf-8", newline="")
    try:
        with opened(str(folder / "any.csv"), SETTINGS) as sample:
            found = draft(sample, Hints(), SETTINGS)
            chosen = _choices(
                sample, found, None, name="any_file", description="", key=None, references=[], source_url=None,
                poll_interval_seconds=60, disposition=None,
            )  # fmt: skip
    except MedallionError:
        return
    dataset = checked(contract_text(found, chosen, "any.csv"), "any_file", folder)
    assert [c.name for c in dataset.columns] == [c.name for c in found.columns]
