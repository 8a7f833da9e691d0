"""The command line as its users meet it: a stack started by `up`, every command against it, with README's own example."""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.cli.demo import people
from services.cli.demo.sources import write_config
from services.stack import is_running

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COVID = """\
Date,Country/Region,Province/State,Confirmed,Recovered,Deaths
2022-04-14,US,,100,0,1
2022-04-15,US,,130,0,2
2022-04-16,US,,150,0,2
2022-04-16,"Korea, South",,50,,1
"""
START_SECONDS_MAX = 60.0
pytestmark = pytest.mark.embedded("`medallion up` starts it here, as users do")


def example(language: str) -> str:
    """Return the first example of a language in README.md that belongs to the new dataset."""
    return next(text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL))


def environment(config_dir: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MEDALLION_")}
    brisk = {"MEDALLION_SWEEP_INTERVAL_SECONDS": "2", "MEDALLION_REANNOUNCE_AFTER_SECONDS": "2"}
    return {**clean, **brisk, "MEDALLION_CONFIG_DIR": str(config_dir), "COLUMNS": "200"}


class Medallion:
    """The command line on one data folder and configuration."""

    def __init__(self, folder: Path) -> None:
        self.data_dir, self.folder = folder / "data", folder
        (folder / "posts.json").write_text(json.dumps(people.posts()), encoding="utf-8")
        (folder / "users.json").write_text(json.dumps(people.users()), encoding="utf-8")
        (folder / "covid.csv").write_text(COVID, encoding="utf-8")
        (folder / "rainfall.csv").write_text(example("csv"), encoding="utf-8")
        files = {"users": "users.json", "posts": "posts.json", "covid": "covid.csv"}
        urls = {name: (folder / file).as_uri() for name, file in files.items()}
        self.config_dir = write_config(ROOT / "config", folder / "config", urls)
        (self.config_dir / "datasets" / "rainfall.yaml").write_text(example("yaml"), encoding="utf-8")

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """Run a command that ends with this status; return what it printed, both streams together."""
        done = self.done(*arguments)
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout + done.stderr

    def done(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "services.cli", *arguments, *self.at()],
            capture_output=True, text=True, timeout=120, env=environment(self.config_dir), cwd=ROOT,
        )  # fmt: skip

    def at(self) -> tuple[str, str]:
        return "--data-dir", str(self.data_dir)

    def json(self, *arguments: str) -> Any:
        done = self.done(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


@contextmanager
def started(folder: Path, adjust: Callable[[Medallion], None] = lambda _: None) -> Iterator[Medallion]:
    """Start a stack by `up`, as a user would, on a configuration that may be adjusted before; stop it by SIGTERM."""
    made = Medallion(folder)
    adjust(made)
    with (made.folder / "up.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.cli", "up", "--no-poll", *made.at()],
            stdout=log, stderr=log, env=environment(made.config_dir), cwd=ROOT,
        )  # fmt: skip
    deadline = time.monotonic() + START_SECONDS_MAX
    while "Stop: Ctrl-C" not in (text := (made.folder / "up.log").read_text()):
        assert process.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
    yield made
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    assert not is_running(made.data_dir)


@pytest.fixture(scope="module")
def medallion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Medallion]:
    """A stack for all tests of this module."""
    with started(tmp_path_factory.mktemp("cli")) as made:
        yield made


def test_up_says_where_everything_listens(medallion: Medallion):
    text = (medallion.folder / "up.log").read_text()
    for word in ("PostgreSQL", "object store (S3)", "Kafka", "silver-1", "Stop: Ctrl-C"):
        assert word in text


def test_env_is_what_programs_need(medallion: Medallion):
    variables = medallion.json("env")
    exports = medallion("env")
    assert {"MEDALLION_DATABASE_URL", "MEDALLION_KAFKA_BOOTSTRAP_SERVERS", "MEDALLION_S3_ENDPOINT"} <= set(variables)
    assert all(f"export {name}=" in exports for name in variables)
    command = [sys.executable, "-m", "services.cli", "status", "--json"]
    by_settings = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment(medallion.config_dir) | variables, cwd=ROOT
    )
    assert json.loads(by_settings.stdout)["datasets"] == medallion.json("status")["datasets"]


def test_migrate_has_nothing_to_do_after_up(medallion: Medallion):
    assert "The database is up to date." in medallion("migrate")


def test_the_readmes_dataset_goes_in_and_can_be_explained(medallion: Medallion):
    landed = medallion.json("land", "rainfall", str(medallion.folder / "rainfall.csv"))
    assert [one["write_disposition"] for one in landed] == ["merge"]
    medallion("settle")
    (made,) = medallion.json("schema", "rainfall")
    assert (made["change"], made["object_id"], "millimetres numeric" in made["details"]) == ("tables made", None, True)
    assert "tables made" in medallion("schema")
    assert "no dataset is called 'snow'" in medallion("schema", "snow", status=2)
    (found,) = medallion.json("explain", "rainfall", "Lagos", "2026-04-01")["rows"]
    assert (found["values"]["millimetres"], found["values"]["observer_domain"]) == ("12.2500", "example.com")
    assert found["delivered"]["Day"] == "01.04.2026"
    assert found["line_number"] == 4
    (warned,) = medallion.json("explain", "rainfall", "Leeds", "2026-04-02")["rows"]
    assert [rule["rule"] for rule in warned["rules_broken"]] == ["known_observer"]


def test_a_gold_row_is_walked_back_to_its_file(medallion: Medallion):
    medallion("land", "covid", str(medallion.folder / "covid.csv"), "--snapshot")
    medallion("settle")
    text = medallion("explain", "covid_global_summary", "2022-04-16")
    for part in ("total_confirmed 200", "made of 2 rows of silver.clean_covid", "Confirmed=150", "line 4 of covid/"):
        assert part in text
    (row,) = medallion.json("explain", "weekly_aggregates", "2022-04-11")["rows"]
    assert [part["table"] for part in row["made_of"]] == ["gold.daily_aggregates"]
    assert row["made_of"][0]["rows"][0]["made_of"][0]["table"] == "gold.covid_global_summary"


def test_run_polls_processes_and_sums_up(medallion: Medallion):
    text = medallion("run", "users", "posts")
    assert re.search(r"users +landed +1 +10 +10 ", text)
    assert re.search(r"posts +landed +1 +100 +100 ", text)
    assert re.search(r"users +unchanged +0 ", medallion("run", "users"))


def test_a_rejected_file_fails_the_run_and_shows_in_status(medallion: Medallion):
    broken = medallion.folder / "broken.csv"
    broken.write_text("Station;Day;Rain (mm);Observer\n" + "Leeds;no day;1;\n" * 5, encoding="utf-8")
    medallion("land", "rainfall", str(broken))
    medallion("settle")
    (trouble,) = medallion.json("status")["trouble"]
    assert (trouble["status"], trouble["dataset"]) == ("rejected", "rainfall")
    assert "no day" in medallion("status")
    assert "rejected" in medallion("runs", "rainfall")


def test_a_quarantined_line_is_listed_with_its_reason(medallion: Medallion):
    text = "Station;Day;Rain (mm);Observer\n" + "".join(f"Lima;{d:02}.05.2026;1;a@b.org\n" for d in range(1, 31))
    path = medallion.folder / "lima.csv.gz"
    path.write_bytes(gzip.compress(text.replace("17.05.2026;1", "17.05.2026;1O").encode()))
    medallion("land", "rainfall", str(path))
    medallion("settle")
    (row,) = medallion.json("quarantine", "list", "rainfall")
    assert (row["line_number"], row["key"]) == (18, {"station": "Lima", "day": "2026-05-17"})
    assert "Lima;17.05.2026;1O;a@b.org" in medallion("quarantine", "list", "rainfall")
    assert medallion.json("explain", "rainfall", "Lima", "2026-05-17")["quarantined"][0]["line_number"] == 18


def test_rebuild_finds_gold_as_it_should_be(medallion: Medallion):
    medallion("land", "covid", str(medallion.folder / "covid.csv"), "--snapshot")
    medallion("settle")
    assert medallion.json("rebuild", "covid_country_trends")["rows_written"] == 0
    assert "nothing to rebuild" in medallion("rebuild", "v_trend_analysis", status=2)


def test_land_says_when_kafka_is_away(medallion: Medallion):
    variables = medallion.json("env") | {"MEDALLION_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "land", "rainfall", str(medallion.folder / "rainfall.csv")],
        capture_output=True, text=True, timeout=60, env=environment(medallion.config_dir) | variables, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Kafka is away" in done.stderr
    medallion("settle", "--timeout-seconds", "60")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("land", "nonsense", "README.md"), 2, "no dataset is called 'nonsense'"),
        (("land", "covid", "none.csv"), 2, "none.csv does not exist; nothing was landed"),
        (("explain", "nonsense", "1"), 2, "neither a gold model nor a dataset"),
        (("explain", "users", "one"), 2, "'one' is no bigint, which the key column user_id is"),
        (("explain", "covid", "1999-01-01"), 1, "has no row with 1999-01-01"),
        (("rebuild", "nonsense"), 2, "no gold model is called 'nonsense'"),
    ],
)
def test_errors_say_what_to_do(medallion: Medallion, arguments: tuple[str, ...], status: int, message: str):
    assert message in " ".join(medallion(*arguments, status=status).split())


def test_without_a_stack_every_command_says_how_to_start_one(tmp_path: Path):
    alone = Medallion(tmp_path)
    for arguments in (("status",), ("settle",), ("env",), ("runs",), ("land", "covid", "README.md")):
        assert "start it with `medallion up`" in alone(*arguments, status=3)


def test_run_starts_a_stack_of_its_own_and_stops_it(tmp_path: Path):
    alone = Medallion(tmp_path)
    result = alone.json("run")
    assert {poll["dataset"]: poll["outcome"] for poll in result["polls"]} == dict.fromkeys(
        ("users", "posts", "covid"), "landed"
    )
    assert {one["status"] for one in result["objects"]} == {"done"}
    assert not is_running(alone.data_dir)
    shutil.rmtree(alone.data_dir, ignore_errors=True)


def test_a_table_is_exported_and_what_was_set_aside_is_mended_and_goes_in(medallion: Medallion):
    folder = medallion.folder
    lines = ["Station;Day;Rain (mm);Observer", *(f"Mend{n};01.05.2026;{n}.5;=n{n}@example.org" for n in range(40))]
    (folder / "to-mend.csv").write_text("\n".join([*lines, "Mend40;02.05.2026;4,5;@obi", ""]), encoding="utf-8")
    medallion("land", "rainfall", str(folder / "to-mend.csv"))
    medallion("settle")
    chosen = ("--where", "station LIKE 'Mend%'", "--columns", "station,millimetres,observer_email")
    shown = medallion("export", "rainfall", *chosen)
    assert shown.splitlines()[:2] == ["station,millimetres,observer_email", "Mend0,0.5000,'=n0@example.org"]
    raw = medallion.done("export", "rainfall", *chosen, "--raw", "--format", "jsonl").stdout.splitlines()
    assert (len(raw), json.loads(raw[0])["observer_email"]) == (40, "=n0@example.org")
    assert "name a file with --output" in medallion("export", "rainfall", "--format", "parquet", status=2)
    assert "does not exist" in medallion("export", "rainfall", "--where", "nope = 1", status=2)
    assert "1 row in" in medallion(
        "quarantine", "export", "rainfall", "--object", "%to-mend.csv", "--output", str(folder / "sheet.csv")
    )
    sheet = (folder / "sheet.csv").read_text(encoding="utf-8")
    assert sheet.splitlines()[1].startswith('Mend40,02.05.2026,"4,5",\'@obi,')
    (folder / "sheet.csv").write_text(sheet.replace('"4,5"', "4.5"), encoding="utf-8")
    (landed,) = medallion.json("quarantine", "mend", "rainfall", str(folder / "sheet.csv"))
    medallion("settle")
    mended = medallion("export", "rainfall", "--raw", "--where", "station = 'Mend40'", "--columns", "observer_email")
    assert mended.splitlines() == ["observer_email", "@obi"]
    assert medallion.json("quarantine", "list", "rainfall", "--object", "%to-mend.csv") == []
    assert [run["outcome"] for run in medallion.json("runs") if run["object_id"] == landed["object_id"]] == ["done"]


def test_docs_are_written_without_a_stack(tmp_path: Path):
    arguments = ["docs", "--output", str(tmp_path / "docs")]
    subprocess.run([sys.executable, "-m", "services.cli", *arguments], check=True, timeout=120, cwd=ROOT)
    assert sorted(path.name for path in (tmp_path / "docs").iterdir()) == [
        "asyncapi.yaml", "dataset.schema.json", "datasets", "index.html", "index.md", "models",
    ]  # fmt: skip
