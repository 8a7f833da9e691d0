"""What is exported is the table; what a spreadsheet would run is escaped; what people mended goes in again."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.cli.extract import Extract, find_table, narrowed, write_csv, write_json_lines, write_parquet
from services.cli.sheet import sheet_lines, write_mended
from shared.errors import ConfigurationError
from shared.queries import load_query
from shared.spreadsheet import escaped, may_run
from tests.pipeline import Pipeline

NOTES = """
dataset: notes
format: {type: csv}
columns:
  - {name: note_id, type: integer}
  - {name: body, type: text, nullable: true}
  - {name: amount, type: decimal, precision: 30, scale: 12, nullable: true}
  - {name: seen, type: boolean, nullable: true}
  - {name: day, type: date, nullable: true}
  - {name: moment, type: timestamp, nullable: true}
primary_key: [note_id]
limits: {bad_rows_max_share: 1}
"""
COLUMNS = ["note_id", "body", "amount", "seen", "day", "moment"]
CELLS = st.text(
    st.sampled_from("=+-@\t\r\n '\"＝＋－＠\ufeff\u3000\\,;a1") | st.characters(codec="utf-8", exclude_characters="\0"),
    min_size=1,
    max_size=8,
)


def extract_of(pipeline: Pipeline, name: str, columns: list[str] | None = None, where: str = "") -> Extract:
    query = load_query(pipeline.settings.sql_dir, "export_columns")
    return narrowed(find_table(pipeline.session, query, name), columns or [], where)


def csv_of(pipeline: Pipeline, extract: Extract, *, is_raw: bool) -> bytes:
    file = io.BytesIO()
    write_csv(pipeline.session, extract, file, is_raw=is_raw)
    pipeline.session.rollback()
    return file.getvalue()


def table(pipeline: Pipeline, columns: list[str] = COLUMNS) -> list[tuple[Any, ...]]:
    return pipeline.rows(f"SELECT {', '.join(columns)} FROM silver.clean_notes ORDER BY note_id")


def notes(rows: list[tuple[Any, ...]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue().encode()


ROWS = [
    (1, "=1+1", "-1.5", "true", "2026-04-01", "2026-04-01T12:00:00.5+00:00"),
    (2, "", "12345678.000000000001", "false", "", ""),
    (3, 'a "quoted", cell\nof two lines', "", "", "2026-04-02", ""),
]


@pytest.fixture
def pipeline(pipeline_with: Callable[..., Pipeline]) -> Pipeline:
    """A pipeline with notes."""
    return pipeline_with({"notes": NOTES})


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CELLS, min_size=1, max_size=40))
def test_an_export_landed_again_gives_the_same_table_and_an_escaped_one_nothing_that_runs(
    pipeline: Pipeline, bodies: list[str]
):
    pipeline.reset()
    pipeline.load("notes", notes([(i, body, i, "true", "", "") for i, body in enumerate(bodies, -3)]))
    before, extract = table(pipeline), extract_of(pipeline, "notes", COLUMNS)
    assert [row[1] for row in before] == bodies
    unescaped_export, escaped_export = (csv_of(pipeline, extract, is_raw=is_raw) for is_raw in (True, False))
    pipeline.reset()
    pipeline.load("notes", unescaped_export)
    assert table(pipeline) == before
    found = list(csv.reader(io.StringIO(escaped_export.decode(), newline="")))[1:]
    assert [row[1] for row in found] == [escaped(body) for body in bodies]
    assert [row[0] for row in found] == [str(row[0]) for row in before]  # a negative number stays a number
    assert not [row for row in found if may_run(row[1])]


def test_every_format_holds_the_tables_values(pipeline: Pipeline, tmp_path: Path):
    pipeline.load("notes", notes(ROWS))
    extract = extract_of(pipeline, "silver.clean_notes", COLUMNS)
    assert csv_of(pipeline, extract, is_raw=False).decode() == (
        "note_id,body,amount,seen,day,moment\n"
        "1,'=1+1,-1.500000000000,true,2026-04-01,2026-04-01 12:00:00.5+00\n"
        "2,,12345678.000000000001,false,,\n"
        '3,"a ""quoted"", cell\nof two lines",,,2026-04-02,\n'
    )
    lines = io.BytesIO()
    write_json_lines(pipeline.session, extract, lines)
    found = [json.loads(line, parse_float=Decimal) for line in lines.getvalue().decode().splitlines()]
    assert found[0] == {
        "note_id": 1, "body": "=1+1", "amount": Decimal("-1.5"), "seen": True, "day": "2026-04-01",
        "moment": "2026-04-01T12:00:00.5+00:00",
    }  # fmt: skip
    assert [row["body"] for row in found] == ["=1+1", None, 'a "quoted", cell\nof two lines']
    write_parquet(pipeline.session, extract, tmp_path / "notes.parquet")
    read = pq.read_table(tmp_path / "notes.parquet").to_pylist()
    assert [tuple(row.values()) for row in read] == table(pipeline)
    assert read[0]["moment"] == datetime(2026, 4, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    assert (read[1]["amount"], read[0]["day"]) == (Decimal("12345678.000000000001"), date(2026, 4, 1))


def test_rows_and_columns_can_be_chosen(pipeline: Pipeline):
    pipeline.load("notes", notes(ROWS))
    extract = extract_of(pipeline, "notes", ["day", "note_id"], "note_id <> 2 -- not the second")
    assert csv_of(pipeline, extract, is_raw=False) == b"day,note_id\n2026-04-01,1\n2026-04-02,3\n"


@pytest.mark.parametrize(
    ("name", "columns", "where", "message"),
    [
        ("nothing", [], "", "neither silver nor gold has a table 'nothing'"),
        ("bronze.raw_notes", [], "", "neither silver nor gold has a table"),
        ("notes", ["nope"], "", "no column 'nope'; there are: note_id, body"),
        ("notes", [], "true) TO PROGRAM 'x'", "is no condition of SQL"),
        ("notes", [], "true; DROP TABLE x", "is no condition of SQL"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    pipeline: Pipeline, name: str, columns: list[str], where: str, message: str
):
    with pytest.raises(ConfigurationError) as refused:
        extract_of(pipeline, name, columns, where)
    assert message in str(refused.value)


def test_every_table_view_and_materialized_view_of_silver_and_gold_can_be_exported(pipeline: Pipeline, tmp_path: Path):
    names = pipeline.rows(
        "SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname IN ('silver', 'gold') AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition ORDER BY 1"
    )
    assert "gold.v_trend_analysis" in [name for (name,) in names]
    for (name,) in names:
        extract = extract_of(pipeline, name)
        csv_of(pipeline, extract, is_raw=False)
        write_json_lines(pipeline.session, extract, io.BytesIO())
        write_parquet(pipeline.session, extract, tmp_path / "table.parquet")
        assert pq.read_schema(tmp_path / "table.parquet").names == [column for column, _ in extract.columns]


def quarantined(pipeline: Pipeline, dataset: str) -> list[tuple[Any, ...]]:
    wanted = {"dataset": dataset, "rule": None, "object": None, "status": "open", "after": 0, "rows": 100}
    found = pipeline.session.rows(load_query(pipeline.settings.sql_dir, "quarantine_export"), wanted)
    pipeline.session.commit()
    return found


FORMATS = {
    "csv": ("{type: csv}", b"id,name,place.city\n1,=A,Leeds\nx,'=B,Lagos\nz,ok\n"),
    "dialect": (
        '{type: csv, delimiter: ";", encoding: cp1252, skip_lines: 1, null_values: ["NA"]}',
        "title\nid;name;place.city\n1;=A;Leeds\nx;'=B;Lagos\nz;ok\n".encode("cp1252"),
    ),
    "json": (
        "{type: json}",
        b'[{"id": 1, "name": "=A", "place": {"city": "Leeds"}}, {"id": "x", "name": "\'=B", "place": {"city": "Lagos"}}, 7]',
    ),
    "jsonl": (
        "{type: jsonl}",
        b'{"id": 1, "name": "=A", "place": {"city": "Leeds"}}\n{"id": "x", "name": "\'=B", "place": {"city": "Lagos"}}\n7\n',
    ),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_mended_sheet_goes_in_whatever_the_datasets_format(
    pipeline_with: Callable[..., Pipeline], tmp_path: Path, kind: str
):
    declared, content = FORMATS[kind]
    pipeline = pipeline_with(
        {
            "people": f"""
dataset: people
format: {declared}
columns:
  - {{name: person_id, from: id, type: integer}}
  - {{name: full_name, from: name, type: text}}
  - {{name: city, from: place.city, type: text, nullable: true}}
primary_key: [person_id]
limits: {{bad_rows_max_share: 1}}
"""
        }
    )
    pipeline.load("people", content)
    dataset = pipeline.catalog["people"]
    sheet = "".join(sheet_lines(dataset, pipeline.settings, quarantined(pipeline, "people"), is_raw=False))
    rows = list(csv.DictReader(io.StringIO(sheet, newline="")))
    assert [row["id"] for row in rows] == ["x", ""]
    assert (rows[0]["name"], rows[0]["_line"]) == ("''=B", "4" if kind == "dialect" else "2" if "js" in kind else "3")
    assert "is not an integer" in rows[0]["_why"]
    assert rows[1]["_raw"] in ("z,ok", "z;ok", "7")

    def saved(delimiter: str, second: dict[str, str]) -> Path:
        """Save the sheet as a spreadsheet does, with the first row mended."""
        path = tmp_path / "mended.csv"
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows([rows[0] | {"id": "2"}, rows[1] | second])
        return path

    target = tmp_path / "people.out"
    with pytest.raises(ConfigurationError, match="row 3 still has its text in _raw alone"):
        write_mended(dataset, saved(";", {}), target)
    assert write_mended(dataset, saved(";", {"id": "3", "name": "'=C", "place.city": "two\rlines"}), target) == 2
    done = pipeline.load("people", target, "merge", day=1)
    assert (done["status"], done["rows_inserted"], done["rows_quarantined"]) == ("done", 2, 0)
    assert pipeline.rows("SELECT person_id, full_name, city FROM silver.clean_people ORDER BY person_id") == [
        (1, "=A", "Leeds"), (2, "'=B", "Lagos"), (3, "=C", "two\rlines"),
    ]  # fmt: skip


def test_a_sheet_that_is_none_is_refused(pipeline: Pipeline, tmp_path: Path):
    dataset, path = pipeline.catalog["notes"], tmp_path / "sheet.csv"
    for content, message in (
        (b"note_id,nothing\n1,2\n", "the first line must name the columns of notes"),
        (b"", "the first line must name the columns of notes"),
        (b",".join(name.encode() for name in COLUMNS) + b"\n", "holds no row"),
        (b"note_id\xff\n", "is not UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=message):
            write_mended(dataset, path, tmp_path / "out")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        write_mended(dataset, tmp_path / "absent.csv", tmp_path / "out")
