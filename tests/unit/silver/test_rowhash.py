"""The canonical encoding and its hash are pinned: silver compares with what earlier versions wrote."""

import datetime
from decimal import Decimal

import pyarrow as pa

from services.silver.rowhash import canonical, hash_texts, row_hashes


def test_the_canonical_encoding_is_netstrings() -> None:
    moment = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    columns = [
        pa.array([datetime.date(2020, 1, 22), None]),
        pa.array(["a,b", ""]),
        pa.array([7, None], pa.int64()),
        pa.array([Decimal("1.50"), None], pa.decimal128(38, 2)),
        pa.array([True, None]),
        pa.array([0.1, None]),
        pa.array([moment, None], pa.timestamp("us", tz="UTC")),
    ]
    encoded = [canonical(column).to_pylist() for column in columns]
    assert [first for first, _ in encoded] == [
        "10:2020-01-22", "3:a,b", "1:7", "4:1.50", "4:true", "3:0.1", "16:1577836800000000",
    ]  # fmt: skip
    assert [second for _, second in encoded] == ["-", "0:", "-", "-", "-", "-", "-"]


def test_the_hash_of_a_row_is_pinned() -> None:
    rows = [canonical(pa.array(["2020-01-22"])), canonical(pa.array(["a,b"])), canonical(pa.array([7]))]
    assert row_hashes(rows)[0].as_py().hex() == "13f5483b0d81af0ee15ba308914acf52"


def test_a_slice_hashes_like_the_whole() -> None:
    column = canonical(pa.array(["a", "bb", "ccc"]))
    assert row_hashes([column]).to_pylist()[1:] == row_hashes([column.slice(1)]).to_pylist()


def test_the_hash_of_a_row_with_evolved_columns_is_pinned_and_of_one_without_stays() -> None:
    rows = [canonical(pa.array(["2020-01-22"] * 2)), canonical(pa.array(["a,b"] * 2)), canonical(pa.array([7] * 2))]
    evolved = {"note": pa.array([None, "a"], pa.string()), "area": pa.array([None, "5"], pa.string())}
    assert [found.hex() for found in row_hashes(rows, evolved).to_pylist()] == [
        "13f5483b0d81af0ee15ba308914acf52",
        hash_texts(pa.array(["10:2020-01-22,3:a,b,1:7;4:area=1:5;4:note=1:a"]))[0].as_py().hex(),
    ]
    assert row_hashes(rows, evolved)[1].as_py().hex() == "6501a51f08f29def134669b3d48b5588"
