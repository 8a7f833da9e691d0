"""JSON arrays: element by element whatever the block size; what is no array is rejected with the reason."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.silver.jsonfile import read_json
from shared.dataset import Dataset
from shared.errors import Rejected
from tests.unit.silver.test_csvfile import dataset_from

CONTRACT = """
dataset: things
format: {type: json}
columns:
  - {name: id, from: id, type: integer, nullable: true}
  - {name: city, from: address.city, type: text, nullable: true}
drops: {write_disposition: append}
limits: {record_bytes_max: 2000}
"""


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_from(tmp_path_factory.mktemp("contract") / "things.yaml", CONTRACT)


def read(content: bytes, dataset: Dataset, block_bytes: int = 64) -> tuple[list[Any], list[Any]]:
    rows, broken = [], []
    for records in read_json(io.BytesIO(content), dataset, block_bytes, 3):
        rescued = records.rescued.to_pylist() if records.rescued is not None else [None] * len(records.line_numbers)
        for index, (line, row) in enumerate(zip(records.line_numbers.tolist(), records.cells.to_pylist(), strict=True)):
            rows.append((line, row["id"], row["city"], json.loads(rescued[index] or "null"), records.raw(index)))
        broken += [(b.line_number, b.rule, b.raw) for b in records.broken]
    return rows, broken


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "city", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)
elements = st.dictionaries(st.sampled_from(["id", "address", "more"]), values, max_size=3)


@given(st.lists(elements, max_size=8), st.integers(1, 200), st.booleans(), st.sampled_from([None, 2]))
def test_every_element_arrives_as_delivered_whatever_the_block_size(
    things: Dataset, items: list[Any], block_bytes: int, is_ascii: bool, indent: int | None
) -> None:
    rows, broken = read(json.dumps(items, ensure_ascii=is_ascii, indent=indent).encode(), things, block_bytes)
    assert broken == []
    assert [json.loads(raw) for *_, raw in rows] == items
    assert [line for line, *_ in rows] == list(range(1, len(items) + 1))


def test_paths_lead_into_objects_and_the_rest_is_rescued(things: Dataset) -> None:
    item = {"id": 7, "address": {"city": "Zürich", "zip": 8000}, "tags": [1.5]}
    rows, _ = read(json.dumps([item]).encode(), things)
    assert [row[:4] for row in rows] == [(1, "7", "Zürich", {"address": {"zip": 8000}, "tags": [1.5]})]


def test_an_element_that_is_no_object_is_one_broken_record(things: Dataset) -> None:
    rows, broken = read(b'[{"id": 1}, 5, {"id": "a\\u0000"}, {"id": 2}]', things)
    assert [row[1] for row in rows] == ["1", "2"]
    assert broken == [(2, "malformed", "5"), (3, "nul", '{"id": "a\\u0000"}')]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b'{"error": 1}', "begins with an object"),
        (b"[1, 2", "the array breaks off after element 2"),
        (b"[1 2]", "after element 1 a comma or ] was expected, not '2'"),
        (b"[1] trailing", "there is more after the JSON array's end"),
        (b'[{"id": }]', "element 1 is not JSON"),
        (b'["' + b"x" * 9000, "longer than 2,000 bytes"),
        (b'["\xff"]', "byte 2 is not UTF-8"),
        (b"[" * 100_000, "nested too deeply|longer than 2,000 bytes"),
    ],
)
def test_a_file_that_is_no_array_is_rejected(things: Dataset, content: bytes, said: str) -> None:
    with pytest.raises(Rejected, match=said):
        read(content, things)
