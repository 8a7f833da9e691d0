"""JSON lines: line by line whatever the block size; a line that is no object costs itself."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.silver.jsonlines import read_json_lines
from shared.dataset import Dataset
from shared.errors import Rejected
from tests.unit.silver.test_csvfile import dataset_from
from tests.unit.silver.test_jsonfile import CONTRACT, elements

LINES = CONTRACT.replace("type: json", "type: jsonl").replace("2000", "1000")


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_from(tmp_path_factory.mktemp("contract") / "things.yaml", LINES)


def read(content: bytes, dataset: Dataset) -> tuple[list[Any], list[Any]]:
    """Return (line, id, city, raw) of the rows and (line, rule, raw) of the broken records."""
    rows, broken = [], []
    for records in read_json_lines(io.BytesIO(content), dataset, 64, 3):
        for index, (line, row) in enumerate(zip(records.line_numbers.tolist(), records.cells.to_pylist(), strict=True)):
            rows.append((line, row["id"], row["city"], records.raw(index)))
        broken += [(b.line_number, b.rule, b.raw) for b in records.broken]
    return rows, broken


@given(
    st.lists(elements, min_size=1, max_size=60), st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans(), st.booleans()
)
def test_every_line_arrives_as_delivered_whatever_the_block(
    things: Dataset, items: list[Any], newline: str, is_ascii: bool, ends_with_newline: bool
) -> None:
    texts = [json.dumps(item, ensure_ascii=is_ascii) for item in items]
    rows, broken = read((newline.join(texts) + (newline if ends_with_newline else "")).encode(), things)
    step = newline.count("\n")
    assert broken == []
    assert [(line, raw) for line, *_, raw in rows] == [(1 + step * n, text) for n, text in enumerate(texts)]


def test_numbers_keep_their_digits_and_paths_lead_into_objects(things: Dataset) -> None:
    content = b'\xef\xbb\xbf{"id": 1.50, "address": {"city": "Z\xc3\xbcrich"}}\n\n  \n{"id": 12345678901234567890}\r\n'
    assert [row[:3] for row in read(content, things)[0]] == [(1, "1.50", "Zürich"), (4, "12345678901234567890", None)]


def test_numbers_within_lists_and_objects_stay_numbers(things: Dataset) -> None:
    value = '[1, 2.50, {"x": -0.0, "é": [12345678901234567890, "7", true, null]}]'
    rows, _ = read(f'{{"id": 1, "address": {{"city": {value}}}}}\n'.encode(), things)
    assert rows[0][2] == value


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b'{"id": }', "malformed"),
        (b'{"id": 1} {"id": 2}', "malformed"),
        (b'{"id": 1},', "malformed"),
        (b"[", "malformed"),
        (b'[{"id": 1}]', "malformed"),
        (b"5", "malformed"),
        (b"{" + b'"x": [' * 150, "malformed"),
        (b'{"id": "a\\u0000"}', "nul"),
        (b'{"id": "a\0"}', "malformed"),
        (b'{"id": NaN}', "number"),
        (b'{"id": "\\ud800"}', "encoding"),
        (b'{"id": "\xff"}', "encoding"),
        (b'{"id": "' + b"x" * 1000 + b'"}', "too_long"),
        (b'{"id": "' + "é".encode() * 500 + b'"}', "too_long"),
    ],
)  # fmt: skip
def test_a_broken_line_costs_itself(things: Dataset, line: bytes, rule: str) -> None:
    rows, broken = read(b'{"id": 0}\n' + line + b'\n{"id": 9}\n', things)
    assert [row[:2] for row in rows] == [(1, "0"), (3, "9")]
    assert [entry[:2] for entry in broken] == [(2, rule)]
    assert len(broken[0][2]) <= 1000


@pytest.mark.parametrize("content", [b"", b"\n \r\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_an_object_is_rejected(things: Dataset, content: bytes) -> None:
    with pytest.raises(Rejected, match="the file is empty: not even one object"):
        read(content, things)


def test_a_line_that_never_ends_is_rejected(things: Dataset) -> None:
    with pytest.raises(Rejected, match="a line of more than"):
        read(b'{"id": "' + b"x" * 100_000, things)


def test_a_declared_encoding_is_read(things: Dataset) -> None:
    wide = things.model_copy(update={"format": things.format.model_copy(update={"encoding": "utf-16"})})
    rows, broken = read('{"id": 1, "address": {"city": "東京"}}\r\n'.encode("utf-16"), wide)
    assert ([row[:3] for row in rows], broken) == ([(1, "1", "東京")], [])


def test_a_byte_that_an_encoding_of_single_bytes_does_not_know_costs_its_line(things: Dataset) -> None:
    narrow = things.model_copy(update={"format": things.format.model_copy(update={"encoding": "cp1252"})})
    rows, broken = read(b'{"id": 0}\n{"id": "\xfc\x81"}\n{"id": 9, "address": {"city": "\x80"}}\n', narrow)
    assert [row[:3] for row in rows] == [(1, "0", None), (3, "9", "€")]
    assert broken == [(2, "encoding", '{"id": "ü\\x81"}')]
