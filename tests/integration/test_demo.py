"""The demonstration, as `make demo` runs it on a machine without internet, and what it leaves behind."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.embedded("the demonstration brings its own")
PUBLISHED = ROOT.parent / "shared" / "data"


def shown(tmp_path: Path, sources: str) -> str:
    """Run the demonstration without a terminal; return what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MEDALLION_")}
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "demo"],
        capture_output=True, text=True, timeout=300, cwd=ROOT,
        env={**clean, "MEDALLION_DEMO_SOURCES": sources, "TMPDIR": str(temporary), "COLUMNS": "160"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(temporary.iterdir()) == []
    assert [
        p.pid for p in psutil.process_iter(["cmdline"]) if str(temporary) in " ".join(p.info["cmdline"] or ())
    ] == []
    return done.stdout


def test_it_shows_the_way_from_the_sources_to_an_explained_number(tmp_path: Path):
    text = shown(tmp_path, "generated")
    for part in (
        "covid  silver  231,744 rows",
        "covid  gold    6 models up to date",
        "The world on 2022-04-16",
        "committed in silver: 29 rows changed, 1 quarantined",
        "(+14,500)",
        "is not an integer",
        "medallion explain covid_country_trends US 2022-04-16",
        "line 2 of covid/corrections.csv",
        "dropped into the bucket",
        "Nothing was left running. Try next:",
    ):
        assert part in text, text


@pytest.mark.real_data
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published data is not beside the project (../shared/data)")
def test_it_shows_the_published_figures(tmp_path: Path):
    text = shown(tmp_path, str(PUBLISHED))
    for figure in ("504,155,459", "549,063", "+1.1751 %", "80,625,120", "Patricia Lebsack"):
        assert figure in text, text
