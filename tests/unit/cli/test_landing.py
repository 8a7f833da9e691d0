"""What `land` refuses before it touches a server, and how it applies what it takes."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.cli.landing import _check_files, _disposition, moment_of
from shared.dataset import Dataset
from shared.errors import ConfigurationError

COLUMNS = [{"name": "station", "type": "text"}, {"name": "rain", "type": "decimal", "nullable": True}]
KEYED = Dataset.model_validate(
    {"dataset": "rain", "format": {"type": "csv"}, "columns": COLUMNS, "primary_key": ["station"]}
)
APPENDED = Dataset.model_validate(
    {"dataset": "log", "format": {"type": "csv"}, "columns": COLUMNS, "drops": {"write_disposition": "append"}}
)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (None, None),
        ("2022-04-16", datetime(2022, 4, 16, tzinfo=UTC)),
        ("2022-04-16T06:00:00+00:00", datetime(2022, 4, 16, 6, tzinfo=UTC)),
    ],
)
def test_a_time_without_zone_is_utc(text: str | None, moment: datetime | None):
    assert moment_of(text, "--landed-at") == moment


def test_a_time_that_is_none_is_refused():
    with pytest.raises(ConfigurationError, match="--landed-at: 'yesterday' is no time"):
        moment_of("yesterday", "--landed-at")


def test_missing_files_and_folders_are_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="nothing was landed"):
        _check_files([tmp_path / "none.csv"], None)
    with pytest.raises(ConfigurationError, match="is a folder"):
        _check_files([tmp_path], None)


def test_one_time_for_several_files_is_refused(tmp_path: Path):
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path in files:
        path.touch()
    with pytest.raises(ConfigurationError, match="dates one file, 2 were given"):
        _check_files(files, datetime(2022, 4, 16, tzinfo=UTC))
    _check_files(files, None)


def test_a_file_is_a_drop_unless_said_otherwise():
    assert [_disposition(KEYED, *flags) for flags in ((False, False), (True, False), (False, True))] == [
        "merge",
        "replace",
        "merge",
    ]
    assert _disposition(APPENDED, False, False) == "append"


def test_contradictions_are_refused():
    with pytest.raises(ConfigurationError, match="exclude each other"):
        _disposition(KEYED, True, True)
    with pytest.raises(ConfigurationError, match="dataset log is append-only"):
        _disposition(APPENDED, True, False)
