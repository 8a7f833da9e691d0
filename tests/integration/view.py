"""What the database holds, in the model's words: versions are days, rows and quarantined lines by dataset."""

from collections.abc import Callable
from typing import Any

from tests.pipeline import DAY_ZERO, Pipeline


class View:
    """A look at a pipeline whose objects were landed on the days that `day` tells by key and version id."""

    def __init__(self, pipeline: Pipeline, day: Callable[[str, str], int]) -> None:
        self._pipeline, self.day = pipeline, day

    def ledger(self) -> dict[int, tuple[str, str | None]]:
        """Return (status, status of the first completion) by version."""
        found = self._pipeline.rows(
            "SELECT object_key, version_id, status, completed_as FROM bronze.ingestion_metadata"
        )
        return {self.day(key, version_id): (status, completed) for key, version_id, status, completed in found}

    def outstanding(self) -> list[Any]:
        """Return objects that have not come to their end, and change sets that were not told of or exported."""
        return self._pipeline.rows(
            "SELECT object_key, status FROM bronze.ingestion_metadata"
            " WHERE status IN ('registered', 'processing', 'failed') UNION ALL"
            " SELECT dataset, 'change set' FROM silver.change_sets WHERE announced_at IS NULL OR exported_at IS NULL"
        )

    def live(self, name: str) -> dict[Any, Any]:
        """Return a dataset's live rows as the model has them."""
        found = self._pipeline.rows(
            "SELECT _object_id, _line_number, key::text, coalesce(ref::text, ''), value::text, _stale, _first_seen_at"
            f" FROM silver.clean_{name}"
        )
        if name == "readings":
            versions = self._versions()
            return {(versions[object_id], line): (key, ref, value) for object_id, line, key, ref, value, *_ in found}
        return {key: (ref, value, stale, (seen - DAY_ZERO).days) for _, _, key, ref, value, stale, seen in found}

    def waiting(self, name: str) -> set[tuple[int, int]]:
        """Return a dataset's lines in open quarantine."""
        versions = self._versions()
        found = self._pipeline.rows(
            "SELECT dataset, object_id, line_number FROM silver.quarantine WHERE status = 'open'"
        )
        return {(versions[object_id], line) for dataset, object_id, line in found if dataset == name}

    def grouped(self, name: str, columns: list[str]) -> set[Any]:
        """Return the rows that gold would read, each under its group."""
        line = "_object_id, _line_number" if name == "readings" else "NULL"
        group = ", ".join(f"{column}::text" for column in columns)
        found = self._pipeline.session.rows(
            f"SELECT ARRAY[{group}]::text[], key, ref, value, {line} FROM silver.clean_{name}"
        )
        return {(group_of(columns, group), *row) for group, *row in found}

    def _versions(self) -> dict[Any, int]:
        found = self._pipeline.rows("SELECT object_id, object_key, version_id FROM bronze.ingestion_metadata")
        return {object_id: self.day(key, version_id) for object_id, key, version_id in found}


def group_of(columns: list[str], values: list[str]) -> tuple[Any, ...]:
    """Return a group's values so that they compare, however their text was written."""
    pairs = zip(columns, values, strict=True)
    return tuple(value[:10] if name == "_first_seen_at" else value for name, value in pairs)
