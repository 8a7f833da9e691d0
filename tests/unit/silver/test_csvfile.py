"""CSV: both lanes yield equal rows, and every line of a file is accounted for."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.silver import csvfile
from services.silver.csvfile import read_csv
from shared.catalog import problems_of
from shared.dataset import Dataset
from shared.errors import Rejected

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


def test_other_encodings_are_read_as_declared(tmp_path: Path) -> None:
    contract = CONTRACT.replace("type: csv", "type: csv, encoding: latin-1")
    dataset = dataset_from(tmp_path / "pairs.yaml", contract)
    assert read("a,b\nZürich,é\n".encode("latin-1"), dataset) == ([(2, "Zürich", "é", "Zürich,é")], [])
