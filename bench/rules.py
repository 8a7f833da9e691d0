"""What rules cost: the COVID file loaded first without any, with those that are shipped, and with one of every kind."""

import csv
import shutil
from pathlib import Path

import yaml

from bench.figures import Figures
from bench.stage import SilverWorker, Stage, fresh_database
from shared.settings import Settings

NO_RULES = "first load, no rules"
SHIPPED_RULES = "first load, the rules as shipped"
ALL_RULES = "first load, those and a rule of every other kind"

_COUNTRIES = {
    "dataset": "countries",
    "format": {"type": "csv"},
    "columns": [{"name": "country_name", "type": "text"}],
    "primary_key": ["country_name"],
}
_OTHERS: list[dict[str, object]] = [
    {"not_null": ["country", "confirmed"]},
    {"unique": ["record_date", "country", "province"]},
    {"unique": {"of": ["record_date", "country", "province"], "within": "table"}, "name": "unique_in_table"},
    {"range": {"of": "confirmed", "min": 0, "max": 1_000_000_000}, "severity": "quarantine"},
    {"length": {"of": "country", "min": 2, "max": 60}, "severity": "quarantine"},
    {"pattern": {"of": "country", "matches": ".*[A-Za-z].*"}, "severity": "reject"},
    {"accepted_values": {"of": "province", "values": ["", "Hubei", "Victoria"]}},
    {"email": "province"},
    {"phone": "province"},
    {"url": "province"},
    {"references": {"of": "country", "in": "countries.country_name"}},
]


def measure_rules(settings: Settings, file: Path, figures: Figures) -> None:
    """Load the file once with each set of rules, each into a database and through a worker of its own."""
    for step in (NO_RULES, SHIPPED_RULES, ALL_RULES):
        config_dir = _contracts(settings, step != NO_RULES, _OTHERS if step == ALL_RULES else [])
        with fresh_database(settings.model_copy(update={"config_dir": config_dir})) as stage:
            _measure(stage, file, step, figures)
        shutil.rmtree(config_dir)


def rules_ratio(figures: Figures) -> float:
    """Return the time with a rule of every kind as a multiple of that with none."""
    return figures.median(ALL_RULES) / figures.median(NO_RULES)


def _contracts(settings: Settings, keeps_shipped: bool, others: list[dict[str, object]]) -> Path:
    """Write the configuration with other rules for covid into the data folder."""
    folder = settings.data_dir / "bench-config"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(settings.config_dir, folder)
    path = folder / "datasets" / "covid.yaml"
    contract = yaml.safe_load(path.read_text(encoding="utf-8"))
    contract["rules"] = [*(contract["rules"] if keeps_shipped else []), *others]
    path.write_text(yaml.safe_dump(contract, sort_keys=False), encoding="utf-8")
    (folder / "datasets" / "countries.yaml").write_text(yaml.safe_dump(_COUNTRIES), encoding="utf-8")
    return folder


def _measure(stage: Stage, file: Path, step: str, figures: Figures) -> None:
    countries = stage.settings.data_dir / "countries.csv"
    with file.open(encoding="utf-8", newline="") as source, countries.open("w", encoding="utf-8", newline="") as target:
        names = sorted({row["Country/Region"] for row in csv.DictReader(source)})
        csv.writer(target).writerows([["country_name"], *([name] for name in names)])
    with SilverWorker(stage.settings) as worker:
        worker.process(stage.land("countries", countries, day=0))
        worked = worker.process(stage.land("covid", file, day=1))
    assert worked.status == "done", worked.status
    figures.add(step, worked.committed - worked.began)
