"""The COVID file through silver, and one restated day through gold."""

import time
from pathlib import Path

from bench.figures import Figures
from bench.floor import floor_seconds
from bench.stage import SilverWorker, Stage, fresh_database
from services.gold.refresh import refresh_tables
from shared.ddl import clean_columns
from shared.settings import Settings

FLOOR = "floor: COPY of the clean table's rows"
FLOOR_SOURCE = "floor: COPY of the 6 source columns"
FIRST = "first load, claim to commit"
FIRST_LANDED = "first load, before the PUT to commit"
SAME = "same file again, byte for byte"
SAME_ROWS = "same rows again in other bytes (the diff)"
SMALL_DELTA = "next delivery, 048 → 049 (3,201 new, 133 restated)"
LARGE_DELTA = "next delivery, 192 → final (116,938 new, 8,262 restated)"
GOLD_FULL = "gold's tables after the first load"
RESTATED_SILVER = "restated country-day in silver, claim to commit"
RESTATED_GOLD = "restated country-day in gold's tables"
MEMORY = "memory peak of the worker, MB"
RESTATED_DAYS = 10
_SOURCE_COLUMNS = "record_date, country, province, confirmed, recovered, deaths"


def measure_covid(settings: Settings, data: Path, figures: Figures) -> None:
    """Measure every step once, each on a database of its own."""
    covid = data / "covid"
    (final,) = covid.glob("time-series-*.csv")
    warm_up = data / "jsonplaceholder" / "users.json"
    with fresh_database(settings) as stage, SilverWorker(stage.settings) as worker:
        worker.process(stage.land("users", warm_up, day=0))
        landed = time.monotonic()
        first = worker.process(stage.land("covid", final, day=0))
        figures.add(FIRST, first.committed - first.began)
        figures.add(FIRST_LANDED, first.committed - landed)
        columns = ", ".join(clean_columns(stage.catalog["covid"]))
        figures.add(FLOOR, floor_seconds(stage.session, "silver.clean_covid", columns))
        figures.add(FLOOR_SOURCE, floor_seconds(stage.session, "silver.clean_covid", _SOURCE_COLUMNS))
        figures.add(GOLD_FULL, _gold_seconds(stage))
        again = worker.process(stage.land("covid", final, day=0.1))
        figures.add(SAME, again.committed - again.began)
        other = stage.settings.data_dir / "other-bytes.csv"
        other.write_bytes(final.read_bytes() + b"\n")
        diffed = worker.process(stage.land("covid", other, day=0.15))
        figures.add(SAME_ROWS, diffed.committed - diffed.began)
        figures.add(MEMORY, diffed.rss_peak_mb)
        _restate(stage, worker, figures)
    for step, older, newer in (
        (SMALL_DELTA, _delivery(covid, "048"), _delivery(covid, "049")),
        (LARGE_DELTA, _delivery(covid, "192"), final),
    ):
        with fresh_database(settings) as stage, SilverWorker(stage.settings) as worker:
            worker.process(stage.land("covid", older, day=0))
            next_one = worker.process(stage.land("covid", newer, day=1))
            figures.add(step, next_one.committed - next_one.began)


def _restate(stage: Stage, worker: SilverWorker, figures: Figures) -> None:
    """Restate one country's newest days one after the other, by files of one row."""
    path = stage.settings.data_dir / "restated.csv"
    for number in range(RESTATED_DAYS):
        row = f"2022-04-{16 - number:02d},Italy,,{16_000_000 + number},0,161000"
        path.write_text(f"Date,Country/Region,Province/State,Confirmed,Recovered,Deaths\n{row}\n")
        worked = worker.process(stage.land("covid", path, day=0.2 + number / 100, disposition="merge"))
        figures.add(RESTATED_SILVER, worked.committed - worked.began)
        figures.add(RESTATED_GOLD, _gold_seconds(stage))


def _gold_seconds(stage: Stage) -> float:
    began = time.monotonic()
    done = refresh_tables(stage.session, stage.models, stage.catalog)
    assert done, "gold had nothing to do"
    return time.monotonic() - began


def _delivery(covid: Path, number: str) -> Path:
    (path,) = (covid / "deliveries").glob(f"{number}_*.csv")
    return path
