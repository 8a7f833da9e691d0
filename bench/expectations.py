"""What expectations cost: the COVID file loaded without any and with one of every kind, first and as next delivery."""

import shutil
from pathlib import Path

import yaml

from bench.figures import Figures
from bench.stage import SilverWorker, fresh_database
from shared.expectations import KINDS
from shared.settings import Settings

NO_EXPECTATIONS = "first load, no expectations"
ALL_EXPECTATIONS = "first load, an expectation of every kind, as shipped"
AGAIN = ", the same rows again in other bytes"
REPEATED = ", the same file again"


def measure_expectations(settings: Settings, file: Path, figures: Figures) -> None:
    """Load the file three times without and with expectations, each into a database and through a worker of its own."""
    for step in (NO_EXPECTATIONS, ALL_EXPECTATIONS):
        config_dir = _contracts(settings, step == ALL_EXPECTATIONS)
        with (
            fresh_database(settings.model_copy(update={"config_dir": config_dir})) as stage,
            SilverWorker(stage.settings) as worker,
        ):
            other = stage.settings.data_dir / "other-bytes.csv"
            other.write_bytes(file.read_bytes() + b"\n")
            for suffix, path, day in (("", file, 0), (AGAIN, other, 1), (REPEATED, other, 2)):
                worked = worker.process(stage.land("covid", path, day=day))
                assert worked.status == "done", worked.status
                figures.add(step + suffix, worked.committed - worked.began)
        shutil.rmtree(config_dir)


def expectations_ratio(figures: Figures) -> float:
    """Return the time of a first load with an expectation of every kind as a multiple of that with none."""
    return figures.median(ALL_EXPECTATIONS) / figures.median(NO_EXPECTATIONS)


def _contracts(settings: Settings, keeps_shipped: bool) -> Path:
    """Write the configuration with or without expectations for covid into the data folder."""
    folder = settings.data_dir / "bench-config"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(settings.config_dir, folder)
    path = folder / "datasets" / "covid.yaml"
    contract = yaml.safe_load(path.read_text(encoding="utf-8"))
    shipped = contract["expectations"]
    missing = [kind for kind in KINDS if not any(kind in one for one in shipped)]
    assert not missing, f"covid.yaml ships no expectation of the kind {', '.join(missing)}"
    contract["expectations"] = shipped if keeps_shipped else []
    path.write_text(yaml.safe_dump(contract, sort_keys=False), encoding="utf-8")
    return folder
