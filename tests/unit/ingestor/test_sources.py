"""Decisions about sources: when to ask conditionally, what counts as unchanged, what a file is called."""

from pathlib import Path

import pytest

from services.ingestor.local import fetch_file
from services.ingestor.sources import (
    Fetched,
    NotModified,
    Previous,
    SourceFailed,
    conditions,
    file_name,
    folder_files,
    is_folder,
    is_unchanged,
)
from shared.dataset import Dataset

SEEN = Previous('"1"', "Mon, 01 Jan 2024 00:00:00 GMT", "abc", 0)
DATASET = Dataset.model_validate(
    {
        "dataset": "users",
        "format": {"type": "json"},
        "columns": [{"name": "id", "type": "integer"}],
        "primary_key": ["id"],
    }
)


@pytest.mark.parametrize(
    ("previous", "every", "expected"),
    [
        (Previous(), 24, None),
        (SEEN, 24, SEEN),
        (SEEN, 1, None),
        (Previous('"1"', None, "abc", 2), 4, Previous('"1"', None, "abc", 2)),
        (Previous('"1"', None, "abc", 3), 4, None),
        (Previous(None, None, "abc", 0), 24, None),
        (Previous('"1"', None, None, 0), 24, None),
    ],
)
def test_a_request_is_conditional_unless_it_is_time_for_a_whole_one(
    previous: Previous, every: int, expected: Previous | None
) -> None:
    assert conditions(previous, every) == expected


def test_the_content_decides_whether_a_source_changed(tmp_path: Path) -> None:
    fetched = Fetched(tmp_path / "x", "x", 1, "abc", '"2"', None, 1, 200)

    assert is_unchanged(fetched, SEEN)
    assert not is_unchanged(fetched, Previous())


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/users", "users.json"),
        ("https://example.org/", "users.json"),
        ("https://example.org/a%20b%2Fc.json?x=1", "c.json"),
        ("https://example.org/d%C3%A4ta.json", "däta.json"),
    ],
)
def test_a_url_gives_a_readable_name(url: str, name: str) -> None:
    assert file_name(url, DATASET) == name


def test_a_folder_lists_finished_visible_files_by_name(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", ".hidden", "c.csv.part"):
        (tmp_path / name).write_text("x")
    (tmp_path / "sub").mkdir()

    assert [path.name for path in folder_files(tmp_path.as_uri() + "/")] == ["a.csv", "b.csv"]
    assert is_folder(tmp_path.as_uri())
    assert not is_folder((tmp_path / "a.csv").as_uri())


def test_a_missing_folder_or_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="is not a folder; create it"):
        list(folder_files((tmp_path / "no").as_uri() + "/"))
    with pytest.raises(SourceFailed, match="cannot be read: No such file"):
        fetch_file(tmp_path / "no", None, tmp_path / "copy", 10)


def test_a_file_is_copied_once_and_then_unmodified(tmp_path: Path) -> None:
    source = tmp_path / "x.csv"
    source.write_bytes(b"a,b\n")

    first = fetch_file(source, None, tmp_path / "copy", 10)
    assert isinstance(first, Fetched)
    assert (tmp_path / "copy").read_bytes() == b"a,b\n"

    again = fetch_file(source, Previous(first.etag, None, first.content_sha256), tmp_path / "copy", 10)
    assert isinstance(again, NotModified)


def test_a_file_beyond_its_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")

    with pytest.raises(SourceFailed, match="file_bytes_max"):
        fetch_file(tmp_path / "x", None, tmp_path / "copy", 4)
