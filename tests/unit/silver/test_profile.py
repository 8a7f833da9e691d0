"""What a profile says, whatever the batches in which the rows came."""

import dataclasses
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.silver.check import good_schema
from services.silver.expect import Delivery, judge
from services.silver.profile import Days, End, Profile, Profiler, distance, profile_of
from shared.dataset import Dataset

CONTRACT: dict[str, Any] = {
    "dataset": "readings",
    "format": {"type": "csv"},
    "columns": [
        {"name": "day", "type": "date"},
        {"name": "used", "from": "Used", "type": "integer", "nullable": True},
        {"name": "cost", "type": "decimal", "nullable": True},
    ],
    "primary_key": ["day"],
    "expectations": [
        {"freshness": {"of": "day", "days_max": 2}},
        {"unknown": {"of": "used", "share_max": 0.5}},
        {"drift": {"of": ["used", "cost"]}},
        {"gap": {"of": "day", "days_max": 1}},
        {"columns": "kept"},
        {"stops": {"of": "used", "along": "day"}},
    ],
}
DATASET = Dataset.model_validate(CONTRACT)
Row = tuple[date, int | None, int | None]


def batch_of(rows: list[Row]) -> pa.RecordBatch:
    schema = good_schema(DATASET)
    columns = {"day": [r[0] for r in rows], "used": [r[1] for r in rows], "cost": [r[2] for r in rows]}
    arrays = [pa.array(columns.get(f.name, [None] * len(rows)), f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def profiled(*batches: list[Row]) -> Profile:
    profiler = Profiler(DATASET)
    for rows in batches:
        profiler.add(batch_of(rows))
    return profiler.profile(())


def day(number: int) -> date:
    return date(2026, 1, 1) + timedelta(days=number)


rows = st.lists(
    st.tuples(
        st.integers(0, 40).map(day),
        st.none() | st.integers(-(2**60), 2**60),
        st.none() | st.integers(-(10**9), 10**9),
    )
)


@given(rows, st.integers(0, 50))
def test_batches_make_no_difference_and_a_profile_survives_being_kept(all_rows: list[Row], cut: int) -> None:
    whole = profiled(all_rows)
    parted = profiled(all_rows[:cut], all_rows[cut:], [])
    as_kept = profile_of(json.loads(whole.to_json()))
    assert as_kept == whole
    assert dataclasses.replace(parted, ends={}) == dataclasses.replace(whole, ends={})
    assert {name: (end.last_day, end.days) for name, end in parted.ends.items()} == {
        name: (end.last_day, end.days) for name, end in whole.ends.items()
    }


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1))
def test_bins_sort_like_the_numbers(values: list[float]) -> None:
    from services.silver.profile import _bins_of

    ordered = sorted(values)
    bins = _bins_of(pa.array(ordered, pa.float64())).tolist()
    assert bins == sorted(bins)
    assert [bin_ == 1 << 14 for bin_ in bins if bin_ == 1 << 14] == [True for value in ordered if value == 0]


def test_days_that_are_missing_and_sums_that_end_are_found() -> None:
    found = profiled([(day(0), 5, None), (day(1), 7, 1)], [(day(1), -2, 1), (day(4), 0, 1), (day(5), None, 1)])
    assert (found.rows, found.unknown, found.columns) == (5, {"used": 1}, ("Used", "cost", "day"))
    assert found.days == {"day": Days("2026-01-01", "2026-01-06", 3, "2026-01-02")}
    assert found.ends == {"used": End("2026-01-02", 5.0, 2)}


def test_the_distance_is_that_of_kolmogorov_and_smirnov_and_one_wild_value_hardly_moves_it() -> None:
    rng = np.random.default_rng(1)
    normal = rng.normal(1000, 100, 20_000).astype(int).tolist()
    other = rng.normal(1200, 100, 20_000).astype(int).tolist()

    def bins(values: list[int]) -> Any:
        return profiled([(day(0), value, None) for value in values]).bins["used"]

    assert distance(bins(normal), []) is None
    assert distance(bins(normal), [bins(normal)]) == 0
    assert distance(bins([1]), [bins([100])]) == 1
    wild = distance(bins([*normal[:-1], 10**15]), [bins(normal)])
    assert wild is not None
    assert wild == pytest.approx(1 / 20_000, abs=1e-9)
    shifted = distance(bins(other), [bins(normal)])
    assert shifted is not None
    assert 0.5 < shifted < 0.7  # two deviations apart: 0.68 if bins were endlessly fine


def judged(profile: Profile, *history: Profile, landed: int = 0) -> dict[str, tuple[bool, str]]:
    delivery = Delivery(profile, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=landed), 10, 0, 0, history)
    return {one.check: (one.passed, one.message) for one in judge(DATASET.expectations, delivery)}


def test_what_has_nothing_to_be_compared_with_says_nothing() -> None:
    first = judged(profiled([(day(0), 1, 1)]), landed=1)
    assert first == {
        "freshness_day": (True, "the newest day is 2026-01-01, 1 day(s) before it was landed"),
        "unknown_used": (True, "0 rows without used of 1 (0.00%)"),
        "gap_day": (True, "no day of day is missing up to 2026-01-01"),
        "stops_used": (True, "used goes on up to 2026-01-01"),
    }
    assert judged(profiled([])) == {}


def test_every_kind_of_expectation_fails_when_it_should() -> None:
    before = profiled([(day(n), 10, 10) for n in range(3)])
    after = profiled([(day(0), 4000, None), (day(6), None, None), (day(7), None, None)])
    assert {check: message for check, (passed, message) in judged(after, before, landed=30).items() if not passed} == {
        "freshness_day": "the newest day is 2026-01-08, 23 day(s) before it was landed",
        "unknown_used": "2 rows without used of 3 (66.67%)",
        "drift_used": "the values of used are 1.000 away from those of the last 1 (0 alike, 1 apart)",
        "gap_day": "after 2026-01-01 no day for 5 day(s)",
        "columns": "columns lost: cost",
        "stops_used": "used stops: its sum was 4,000 on 2026-01-01, and nothing for the 2 day(s) since",
    }


def test_times_are_taken_by_their_day_and_names_as_the_database_takes_them() -> None:
    contract = CONTRACT | {
        "columns": [{"name": "at", "type": "timestamp"}, {"name": "used", "type": "double", "nullable": True}],
        "primary_key": ["at"],
        "expectations": [{"stops": {"of": "used", "along": "at"}}, {"columns": "kept"}],
    }
    dataset = Dataset.model_validate(contract)
    schema = good_schema(dataset)
    moments = [datetime(2026, 1, number, 23, 59, tzinfo=UTC) for number in (1, 2, 3)]
    known = {"at": moments, "used": [1e308, 1e308, None], "_rescued": ['{"a\\u0000b": 1}', None, None]}
    arrays = [pa.array(known.get(field.name, [None] * 3), field.type) for field in schema]
    profiler = Profiler(dataset)
    profiler.add(pa.RecordBatch.from_arrays(arrays, schema=schema))
    profiler.add(pa.RecordBatch.from_arrays(arrays, schema=schema))
    found = profiler.profile(())
    assert found.days == {"at": Days("2026-01-01", "2026-01-03", 1, "2026-01-01")}
    assert found.ends["used"].days == 1
    assert json.loads(found.to_json())["ends"]["used"]["last_sum"] == np.finfo(float).max
    assert found.columns == ("a\\x00b", "at", "used")
