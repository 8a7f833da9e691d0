"""Files that do not fit their contract: what schema_contract makes of unknown columns, other types and missing tables."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import requests
from shared.catalog import load_catalog
from shared.migrate import migrate
from tests.pipeline import Pipeline

CONTRACT = """
dataset: sales
source: {url: "https://example.org/sales.csv", poll_interval_seconds: 60, write_disposition: replace}
format: {type: csv}
columns:
  - {name: shop, type: text}
  - {name: total, type: integer, nullable: true}
primary_key: [shop]
limits: {bad_rows_max_share: 1, removed_rows_max_share: 1, evolved_columns_max: 6}
schema_contract: {columns: evolve, data_type: evolve}
"""
JSON = CONTRACT.replace("type: csv", "type: json")
Make = Callable[..., Pipeline]


def changed(text: str, **modes: str) -> str:
    """Return the contract with other modes."""
    return text.replace("{columns: evolve, data_type: evolve}", json.dumps(modes).replace('"', ""))


def clean(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return the business columns of the clean rows, those without a value left out, and the rescued values."""
    found = pipeline.rows("SELECT to_jsonb(c) FROM silver.clean_sales c ORDER BY shop")
    ours = ({n: v for n, v in row.items() if n == "_rescued" or not n.startswith("_")} for (row,) in found)
    return [{n: v for n, v in row.items() if v is not None and n != "data_quality_score"} for row in ours]


def columns(pipeline: Pipeline, table: str) -> list[str]:
    """Return a table's columns that are neither lineage nor the platform's."""
    found = pipeline.rows(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attname !~ '^_|^ingestion_|^raw_data$|^data_quality_score$' ORDER BY attnum",
        (table,),
    )
    return [name for (name,) in found]


def history(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    return pipeline.rows(
        "SELECT change, column_name, column_type, origin, object_id IS NOT NULL FROM bronze.schema_history"
        " WHERE dataset = 'sales' ORDER BY change_id"
    )


def migrated(pipeline: Pipeline, contract: str) -> Any:
    """Write another contract, migrate as a restart would, and return what migrate says."""
    (pipeline.settings.dataset_dir / "sales.yaml").write_text(contract)
    pipeline.catalog = load_catalog(pipeline.settings.dataset_dir)
    pipeline.silver = pipeline.worker("restarted")
    return migrate(pipeline.session, pipeline.settings.sql_dir, pipeline.catalog, pipeline.models)


def test_an_unknown_column_becomes_one_of_both_tables_and_is_announced(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": CONTRACT})
    sales.load("sales", b"shop,total\nleeds,1\n")
    sales.load("sales", b"shop,Opening Hours,total,ORDER\nleeds,9-5,1,\nyork,,2,b\n", day=1)
    assert clean(sales) == [
        {"shop": "leeds", "total": 1, "opening_hours": "9-5"},
        {"shop": "york", "total": 2, "order_": "b"},
    ]
    assert columns(sales, "silver.clean_sales") == ["shop", "total", "opening_hours", "order_"]
    assert columns(sales, "bronze.raw_sales") == ["shop", "total", "opening_hours", "order_"]
    assert sales.rows("SELECT shop, opening_hours, order_ FROM bronze.raw_sales ORDER BY ingestion_id") == [
        ("leeds", None, None), ("leeds", "9-5", None), ("york", None, "b"),
    ]  # fmt: skip
    assert history(sales) == [
        ("tables made", None, None, None, False),
        ("column evolved", "opening_hours", "text", "Opening Hours", True),
        ("column evolved", "order_", "text", "ORDER", True),
    ]
    logged = sales.rows(
        "SELECT severity, records_failed, passed, details FROM silver.data_quality_logs"
        " WHERE quality_check = 'schema_evolved'"
    )
    assert logged == [("warn", 2, False, {"columns": ["opening_hours", "order_"]})]
    completeness = sales.rows(
        "SELECT column_name, rows, known FROM gold.v_data_completeness WHERE dataset = 'sales' ORDER BY column_name"
    )
    assert completeness == [
        ("data_quality_score", 2, 2), ("opening_hours", 2, 1), ("order_", 2, 1), ("shop", 2, 2), ("total", 2, 2),
    ]  # fmt: skip
    sales.assert_invariants()


def test_parts_of_json_records_become_columns(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": JSON})
    records = [
        {"shop": "leeds", "total": 1, "area": 12.50, "open": True, "at": {"lat": 1.0}, "none": None},
        {"shop": "york", "total": 2, "Area": "large", "area": 3, "tags": ["a", 1]},
    ]
    sales.load("sales", json.dumps(records).replace("12.5", "12.50").encode())
    (area,) = (name for name in columns(sales, "silver.clean_sales") if name.startswith("area__"))
    assert clean(sales) == [
        {"shop": "leeds", "total": 1, "area": "12.50", "open": "true", "at": '{"lat": 1.0}'},
        {"shop": "york", "total": 2, "area": "3", area: "large", "tags": '["a", 1]'},
    ]


def test_a_row_without_its_evolved_value_again_loses_it(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": CONTRACT})
    sales.load("sales", b"shop,total,note\nleeds,1,a\nyork,2,\n")
    row = sales.load("sales", b"shop,total\nleeds,1\nyork,2\n", day=1)
    assert (row["rows_updated"], row["rows_unchanged"]) == (1, 1)
    assert clean(sales) == [{"shop": "leeds", "total": 1}, {"shop": "york", "total": 2}]


SHOPS, CELLS = ("leeds", "york"), ("", "1", "2", "x")
HEADERS = ((), ("note",), ("Note",), ("Note", "note"), ("note", "Größe"), ("日",))


@st.composite
def files(draw: Any) -> tuple[str, bytes]:
    names = draw(st.sampled_from(HEADERS))
    line = st.tuples(st.sampled_from(SHOPS), *[st.sampled_from(CELLS)] * (1 + len(names)))
    rows = draw(st.lists(line, max_size=3))
    text = "\n".join(",".join(cells) for cells in [("shop", "total", *names), *rows])
    return draw(st.sampled_from(["replace", "merge"])), f"{text}\n".encode()


def test_any_order_of_files_with_and_without_columns_gives_the_same_tables(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": CONTRACT})

    def outcome(pieces: list[tuple[str, bytes]], order: list[int], rng: random.Random) -> Any:
        sales.reset()
        ids = [sales.land("sales", content, how, day) for day, (how, content) in enumerate(pieces)]
        for position in order:
            sales.process(ids[position])
            if rng.random() < 0.3:
                sales.process_again(ids[rng.choice(order[: order.index(position) + 1])])
        sales.assert_invariants()
        stale = sales.rows("SELECT shop, _stale, _first_seen_at FROM silver.clean_sales ORDER BY shop")
        verdicts = sales.rows("SELECT error_message IS NOT NULL FROM bronze.ingestion_metadata ORDER BY version")
        return clean(sales), stale, verdicts

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(st.lists(files(), min_size=2, max_size=5), st.randoms(use_true_random=False))
    def check(pieces: list[tuple[str, bytes]], rng: random.Random) -> None:
        order = list(range(len(pieces)))
        expected = outcome(pieces, order, random.Random(1))
        rng.shuffle(order)
        assert outcome(pieces, order, rng) == expected, order

    check()


def test_both_lanes_read_evolved_columns_alike(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": CONTRACT})
    rows = "".join(f"shop {n},{n},note {n}\n" for n in range(2000))
    sales.load("sales", f"shop,total,note\n{rows}".encode())
    quoted = rows.replace("note 5\n", '"note 5"\n').replace("note 1999", '"note 1999"')
    row = sales.load("sales", f"shop,total,note\n{quoted}".encode(), day=1)
    assert (row["rows_unchanged"], row["rows_updated"], row["rows_inserted"]) == (2000, 0, 0)


def test_too_many_columns_in_one_file_are_refused_and_over_several_held(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": CONTRACT})
    row = sales.load("sales", b"shop,total,a,b,c,d,e,f,g\nleeds,1,1,1,1,1,1,1,1\n")
    assert (row["status"], "more than the 6 that limits.evolved_columns_max" in row["error_message"]) == (
        "rejected",
        True,
    )
    sales.load("sales", b"shop,total,a,b,c,d\nleeds,1,1,1,1,1\n", day=1)
    held = sales.load("sales", b"shop,total,e,f,g\nleeds,1,1,1,1\n", day=2)
    assert (held["status"], "more than the 6 evolved columns" in held["error_message"]) == ("held", True)
    assert columns(sales, "silver.clean_sales") == ["shop", "total", "a", "b", "c", "d"]
    migrated(sales, CONTRACT.replace("evolved_columns_max: 6", "evolved_columns_max: 7"))
    sales.session.execute(
        "UPDATE bronze.ingestion_metadata SET status = 'registered', is_approved = true WHERE status = 'held'"
    )
    sales.session.commit()
    (object_id,) = sales.rows("SELECT object_id FROM bronze.ingestion_metadata WHERE status = 'registered'")[0]
    assert sales.process(object_id) == ["done"]
    assert columns(sales, "silver.clean_sales")[2:] == list("abcdefg")


def test_a_rejected_file_brings_no_columns(pipeline_with: Make) -> None:
    strict = changed(CONTRACT, columns="evolve").replace("bad_rows_max_share: 1", "bad_rows_max_share: 0")
    sales = pipeline_with({"sales": strict})
    assert sales.load("sales", b"shop,total,note\nleeds,x,a\nyork,1,b\n")["status"] == "rejected"
    assert columns(sales, "silver.clean_sales") == ["shop", "total"]
    assert history(sales) == [("tables made", None, None, None, False)]


@pytest.mark.parametrize(
    ("mode", "expected", "counts"),
    [
        ("quarantine", [{"shop": "york", "total": 2}], ("done", 1, 0)),
        ("freeze", [], ("rejected", None, None)),
        ("discard_row", [{"shop": "york", "total": 2}], ("done", 0, 1)),
        (
            "discard_value",
            [{"shop": "leeds", "_rescued": {"total": "1O"}}, {"shop": "york", "total": 2}],
            ("done", 0, 0),
        ),
        ("evolve", [{"shop": "leeds", "total__v_text": "1O"}, {"shop": "york", "total": 2}], ("done", 0, 0)),
    ],
)
def test_a_cell_of_another_type(pipeline_with: Make, mode: str, expected: Any, counts: Any) -> None:
    sales = pipeline_with({"sales": changed(CONTRACT, data_type=mode)})
    row = sales.load("sales", b"shop,total\nleeds,1O\nyork,2\n")
    assert clean(sales) == expected
    assert (row["status"], row["rows_quarantined"], row["rows_discarded"]) == counts
    if mode == "freeze":
        assert "1 of 2 rows have another type in total, first line 2: '1O' is not an integer" in row["error_message"]
    else:
        sales.assert_invariants()


@pytest.mark.parametrize("mode", ["freeze", "discard_row", "discard_value", "evolve"])
def test_a_key_of_another_type_is_quarantined_whatever_the_contract_says(pipeline_with: Make, mode: str) -> None:
    by_day = changed(CONTRACT, data_type=mode).replace("name: shop, type: text", "name: shop, type: date")
    sales = pipeline_with({"sales": by_day})
    row = sales.load(
        "sales", b"shop,total\nleeds,x\n2020-01-01,2\n" if mode == "discard_row" else b"shop,total\nleeds,1\n"
    )
    assert (row["status"], row["rows_quarantined"], row["rows_discarded"]) == ("done", 1, 0)


def test_a_column_that_must_have_a_value_cannot_be_left_without(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": CONTRACT.replace(", nullable: true", "")})
    assert sales.load("sales", b"shop,total\nleeds,1O\n")["rows_quarantined"] == 1
    assert columns(sales, "silver.clean_sales") == ["shop", "total"]


@pytest.mark.parametrize(
    ("contract", "content"),
    [(CONTRACT, b"shop,total,note\nleeds,1,a\n"), (JSON, b'[{"shop": "leeds", "total": 1, "note": "a"}]')],
    ids=["csv", "json"],
)
def test_unknown_columns_frozen_or_discarded(pipeline_with: Make, contract: str, content: bytes) -> None:
    sales = pipeline_with({"sales": changed(contract, columns="freeze")})
    row = sales.load("sales", content)
    assert row["status"] == "rejected"
    assert "has 'note', which the contract does not know" in row["error_message"]
    migrated(sales, changed(contract, columns="discard_row"))
    assert sales.load("sales", content, day=1)["rows_discarded"] == 1
    migrated(sales, changed(contract, columns="discard_value"))
    sales.load("sales", content, day=2)
    assert clean(sales) == [{"shop": "leeds", "total": 1, "_rescued": {"note": "a"}}]


def test_a_contract_that_stops_evolving_moves_values_into_rescued(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": CONTRACT})
    content = b"shop,total,note\nleeds,1,a\n"
    sales.load("sales", content)
    done = migrated(sales, changed(CONTRACT, columns="discard_value"))
    assert done.undecided == []
    sales.load("sales", content, day=1)
    assert clean(sales) == [{"shop": "leeds", "total": 1, "_rescued": {"note": "a"}}]


def test_quarantined_rows_are_replayed_with_their_evolved_columns(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": changed(CONTRACT, columns="evolve")})
    object_id = sales.land("sales", b"shop,total,note\nleeds,1O,a\nyork,2,\n")
    sales.process(object_id)
    migrated(sales, CONTRACT)
    sales.session.execute("UPDATE silver.quarantine SET is_requested = true")
    sales.session.execute(
        "UPDATE bronze.ingestion_metadata SET status = 'registered', request = 'replay', epoch = epoch + 1"
    )
    sales.session.commit()
    assert sales.process(object_id) == ["done"]
    assert clean(sales) == [
        {"shop": "leeds", "total__v_text": "1O", "note": "a"},
        {"shop": "york", "total": 2},
    ]


PROMOTED = CONTRACT.replace(
    "primary_key", "  - {name: size, type: integer, nullable: true, optional: true}\nprimary_key", 1
)


def test_a_declared_column_takes_over_the_evolved_one_when_its_texts_fit(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": CONTRACT})
    content = b"shop,total,size\nleeds,1,40\n"
    sales.load("sales", content)
    done = migrated(sales, PROMOTED)
    assert (done.applied, done.undecided) == (["silver.clean_sales.size is of type bigint now"], [])
    sales.load("sales", content, day=1)
    assert clean(sales) == [{"shop": "leeds", "total": 1, "size": 40}]
    assert history(sales)[1:] == [
        ("column evolved", "size", "text", "size", True),
        ("column promoted", "size", "bigint", "size", False),
        ("contract changed", None, None, None, False),
    ]
    assert migrated(sales, PROMOTED).applied == []
    sales.assert_invariants()


def test_a_declared_column_whose_evolved_texts_do_not_fit_is_left_to_a_person(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": CONTRACT})
    sales.load("sales", b"shop,total,size\nleeds,1,40\nyork,2,large\n")
    (said,) = migrated(sales, PROMOTED).undecided
    assert said.startswith("silver.clean_sales.size is text, the contract says bigint: ALTER TABLE")
    sales.session.execute(said.partition(": ")[2])
    sales.session.commit()
    assert migrated(sales, PROMOTED).undecided == []
    assert clean(sales) == [{"shop": "leeds", "total": 1, "size": 40}, {"shop": "york", "total": 2}]
    assert history(sales)[-1] == ("type changed", "size", "bigint", None, False)


def test_an_integer_is_widened_to_a_decimal_and_other_types_are_printed(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": CONTRACT})
    sales.load("sales", b"shop,total\nleeds,1\n")
    assert migrated(sales, CONTRACT.replace("type: integer", "type: decimal")).applied == [
        "silver.clean_sales.total is of type numeric now"
    ]
    sales.load("sales", b"shop,total\nleeds,1.5\n", day=1)
    assert clean(sales) == [{"shop": "leeds", "total": 1.5}]
    (said,) = migrated(sales, CONTRACT).undecided
    assert "silver.clean_sales.total is numeric, the contract says bigint" in said


def test_frozen_tables_are_printed_and_their_files_wait(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": changed(CONTRACT, tables="freeze")})
    object_id = sales.land("sales", b"shop,total\nleeds,1\n")
    assert sales.process(object_id) == ["held"]
    assert "run the SQL that `medallion migrate` prints" in sales.ledger(object_id)["error_message"]
    (said,) = migrated(sales, changed(CONTRACT, tables="freeze")).undecided
    sales.session.execute(said.partition(":\n")[2])
    assert migrated(sales, changed(CONTRACT, tables="freeze")).undecided == []
    sales.session.execute("UPDATE bronze.ingestion_metadata SET status = 'registered', is_approved = true")
    sales.session.commit()
    assert sales.process(object_id) == ["done"]
    wider = changed(PROMOTED, tables="freeze")
    (clean_said, raw_said) = migrated(sales, wider).undecided
    assert "ADD COLUMN IF NOT EXISTS size bigint" in clean_said
    assert "ADD COLUMN IF NOT EXISTS size text" in raw_said
    assert sales.load("sales", b"shop,total,size\nleeds,1,2\n", day=1)["status"] == "held"


@pytest.mark.parametrize("mode", ["discard_row", "discard_value"])
def test_files_of_a_dataset_without_tables_are_ignored_with_a_record(pipeline_with: Make, mode: str) -> None:
    sales = pipeline_with({"sales": changed(CONTRACT, tables=mode)})
    row = sales.load("sales", b"shop,total\nleeds,1\n")
    assert row["status"] == "ignored"
    assert row["error_message"].startswith("silver.clean_sales does not exist, and `schema_contract.tables")
    assert sales.rows("SELECT outcome FROM bronze.processing_runs") == [("ignored",)]


def test_a_renamed_column_is_recognised_in_the_rejection(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": CONTRACT})
    row = sales.load("sales", b"Shop,Total sales\nleeds,1\n")
    assert row["status"] == "rejected"
    assert "'Shop' looks like 'shop': if it is, write `from: \"Shop\"`." in row["error_message"]


def test_reordered_columns_are_taken_by_name(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": CONTRACT})
    sales.load("sales", b"shop,total,note\nleeds,1,a\n")
    row = sales.load("sales", b"note,total,shop\na,1,leeds\n", day=1)
    assert (row["rows_unchanged"], row["rows_updated"]) == (1, 0)


def test_append_rows_have_evolved_columns_too(pipeline_with: Make) -> None:
    contract = CONTRACT.replace("write_disposition: replace", "write_disposition: append").replace(
        "primary_key: [shop]", "drops: {write_disposition: append}"
    )
    sales = pipeline_with({"sales": contract})
    sales.load("sales", b"shop,total,note\nleeds,1,a\nleeds,1O,\n", "append")
    assert clean(sales) == [
        {"shop": "leeds", "total": 1, "note": "a"},
        {"shop": "leeds", "total__v_text": "1O"},
    ]
    sales.assert_invariants()


def test_what_a_withdrawn_file_brought_is_gone_and_its_column_stays(pipeline_with: Make) -> None:
    sales = pipeline_with({"sales": CONTRACT})
    sales.load("sales", b"shop,total\nleeds,1\nyork,2\n")
    wrong = sales.land("sales", b"shop,total,note,fax\nleeds,1,a,\nyork,2,,b\n", day=1)
    later = sales.land("sales", b"shop,total,fax\nyork,3,c\n", "merge", day=2)
    sales.process(wrong, later)
    requests.withdraw(sales.session, wrong)
    assert sales.process(wrong) == ["ignored"]
    assert clean(sales) == [{"shop": "leeds", "total": 1}, {"shop": "york", "total": 3, "fax": "c"}]
    assert columns(sales, "silver.clean_sales") == ["shop", "total", "fax", "note"]
    sales.assert_invariants()
