"""The demonstration's data and its steps in words."""

import csv
import io
from datetime import date
from pathlib import Path

import pytest

from services.cli.demo import epidemic, people, sources
from services.cli.demo.journey import ADDED, TYPO_AT, correction
from services.cli.demo.progress import Step, steps
from shared.catalog import Catalog, load_catalog
from shared.errors import ConfigurationError

CATALOG = load_catalog(Path(__file__).resolve().parents[3] / "config" / "datasets")


def test_generated_figures_have_the_real_files_shape():
    text = "".join(epidemic.covid_csv())
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 231_744
    assert len({row["Country/Region"] for row in rows}) == 198
    assert len({(row["Country/Region"], row["Province/State"]) for row in rows}) == 284
    assert rows[0].keys() == {"Date", "Country/Region", "Province/State", "Confirmed", "Recovered", "Deaths"}
    assert min(int(row["Confirmed"]) for row in rows) >= 0


def test_generated_data_is_the_same_every_time():
    assert next(iter(list(epidemic.covid_csv())[1:])) == next(iter(list(epidemic.covid_csv())[1:]))
    assert (people.users(), people.posts()) == (people.users(), people.posts())


def test_generated_people_have_the_real_sizes():
    assert (len(people.users()), len(people.posts())) == (10, 100)
    assert {post["userId"] for post in people.posts()} <= {user["id"] for user in people.users()}


def test_a_folders_files_are_recognised_also_one_level_down(tmp_path: Path):
    (tmp_path / "covid").mkdir()
    wanted = {
        "covid": tmp_path / "covid" / "time-series-19-covid-combined_2022-04-16.csv",
        "posts": tmp_path / "posts.json",
        "users": tmp_path / "users.json",
    }
    for path in wanted.values():
        path.touch()
    assert sources.files_in(tmp_path, CATALOG) == wanted


def test_a_dataset_that_was_added_is_shown_where_its_file_is_at_hand_and_waits_for_drops_elsewhere(tmp_path: Path):
    covid = CATALOG["covid"]
    url = {"source": covid.source.model_copy(update={"url": "https://x.example/rain.csv"})} if covid.source else {}
    catalog = Catalog({"rain": covid.model_copy(update={"name": "rain", **url})})
    assert sources.files_in(tmp_path, catalog) == {}
    assert sources.without_sources(catalog, {})["rain"].source is None
    (tmp_path / "rain.csv.gz").touch()
    assert sources.files_in(tmp_path, catalog) == {"rain": tmp_path / "rain.csv.gz"}
    assert sources.without_sources(catalog, {"rain": ""})["rain"] == catalog["rain"]


def test_a_missing_or_ambiguous_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"no file for dataset covid: time-series-19-covid-combined\.csv"):
        sources.files_in(tmp_path, CATALOG)
    for day in (1, 2):
        (tmp_path / f"time-series-19-covid-combined_{day}.csv").touch()
    with pytest.raises(ConfigurationError, match="several files for dataset covid"):
        sources.files_in(tmp_path, CATALOG)


def test_a_configuration_with_other_sources_differs_in_nothing_else(tmp_path: Path):
    root = Path(__file__).resolve().parents[3] / "config"
    written = load_catalog(
        sources.write_config(root, tmp_path, {"users": "http://127.0.0.1:1/users.json"}) / "datasets"
    )
    assert written["covid"] == CATALOG["covid"]
    assert written["users"].model_dump(exclude={"source"}) == CATALOG["users"].model_dump(exclude={"source"})
    assert written["users"].source is not None
    assert written["users"].source.url == "http://127.0.0.1:1/users.json"


def test_a_correction_restates_every_line_but_one():
    rows = [(date(2022, 4, 16), f"Country {n}", "", 1_000 * n, n, None) for n in range(1, 31)]
    lines = list(csv.DictReader(io.StringIO(correction(rows))))
    cases = [line["Confirmed"] for line in lines]
    assert [c for c in cases if not c.isdigit()] == [cases[TYPO_AT - 1]]
    assert sum(int(c) for c in cases if c.isdigit()) == sum(r[3] + ADDED for r in rows) - rows[TYPO_AT - 1][3] - ADDED


def found(**changes: object) -> dict[str, object]:
    return {
        "status": "done", "size_bytes": 8_900_000, "seconds": 3.14, "rows_read": 231_744, "rows_quarantined": 0,
        "rows_waiting": 0, "error_message": None, "models_waiting": 0, **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, [(False, "polling the source"), (False, ""), (False, "")]),
        (
            found(status="processing", seconds=1.2),
            [(True, "landed 8.9 MB"), (False, "reading, checking, merging 1 s"), (False, "")],
        ),
        (
            found(rows_quarantined=103, rows_waiting=100),
            [
                (True, "landed 8.9 MB"),
                (True, "231,744 rows, 3 quarantined, 100 wait for what they refer to, 3.1 s"),
                (True, "6 models up to date"),
            ],
        ),
        (found(models_waiting=2), [(True, "landed 8.9 MB"), (True, "231,744 rows, 3.1 s"), (False, "4 of 6 models")]),
        (found(), [(True, "landed 8.9 MB"), (True, "231,744 rows, 3.1 s"), (True, "6 models up to date")]),
        (
            found(status="rejected", error_message="no header"),
            [(True, "landed 8.9 MB"), (True, "rejected: no header"), (True, "unchanged")],
        ),
    ],
)
def test_progress_says_where_a_dataset_is(state: dict[str, object] | None, expected: list[tuple[bool, str]]):
    assert list(steps(state, 6, None)) == [Step(*one) for one in expected]
