"""The command line as a program: exit statuses, errors without tracebacks, a quick start."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.__main__ import exit_status, main
from shared.errors import ConfigurationError, MedallionError, Outstanding, Unavailable

HEAVY = ("pyarrow", "duckdb", "psycopg2", "kafka", "minio", "faust", "numpy", "shared.settings")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigurationError("wrong"), 2),
        (Unavailable("PostgreSQL", "refused"), 3),
        (Outstanding("left over"), 1),
        (MedallionError("failed"), 1),
    ],
)
def test_every_kind_of_error_has_its_exit_status(error: MedallionError, status: int):
    assert exit_status(error) == status


def ended_with(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_an_error_is_a_sentence_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "300")
    status = ended_with("status", "--data-dir", str(tmp_path))
    output = capsys.readouterr()
    assert status == 3
    assert "it is not running; start it with `medallion up`" in output.err
    assert "Traceback" not in output.err + output.out


@pytest.mark.parametrize("arguments", [("nonsense",), ("land",), ("runs", "--rows", "none"), ("status", "--nonsense")])
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...]):
    assert ended_with(*arguments) == 2


def test_help_loads_nothing_heavy():
    script = (
        "import sys\nsys.argv = ['medallion', '--help']\nfrom services.cli.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', sorted(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("LOADED []")
