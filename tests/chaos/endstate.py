"""What must be the same after faults as without them, as DESIGN.md compares it, kept as sorted text lines by table."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from shared.catalog import Catalog
from shared.ddl import business_columns
from shared.models import Models
from shared.ports import Session

DIFFERENCES_SHOWN_MAX = 3


@dataclass(frozen=True)
class EndState:
    """Tables as multisets of rows in text form."""

    tables: Mapping[str, Counter[str]]

    @property
    def rows(self) -> int:
        """How many rows are compared."""
        return sum(table.total() for table in self.tables.values())

    def differences(self, other: "EndState") -> list[str]:
        """Return a line for each table that differs from what was expected, with a few rows of each side."""
        found = []
        for name, expected in self.tables.items():
            extra, missing = other.tables[name] - expected, expected - other.tables[name]
            for side, rows in (("unexpected", extra), ("missing", missing)):
                if rows:
                    shown = "; ".join(list(rows)[:DIFFERENCES_SHOWN_MAX])
                    found.append(f"{name}: {rows.total():,} rows {side}: {shown}")
        return found


def read_end_state(session: Session, catalog: Catalog, models: Models) -> EndState:
    """Read the compared columns of silver, gold, the open quarantine and the verdicts on whole files."""
    queries = {
        "quarantine": "SELECT dataset, object_key, line_number, reasons FROM silver.quarantine"
        " JOIN bronze.ingestion_metadata USING (dataset, object_id) WHERE quarantine.status = 'open'",
        "verdicts": "SELECT object_key, status, error_message FROM bronze.ingestion_metadata"
        " WHERE status IN ('rejected', 'ignored', 'held')",
    }
    for dataset in catalog.datasets.values():
        columns = ", ".join([*(name for name, _ in business_columns(dataset)), "_stale"])
        queries[dataset.clean_table] = f"SELECT {columns} FROM {dataset.clean_table}"
    for model in (*models.tables, *models.materialized_views):
        queries[model.table] = f"SELECT {', '.join(column.name for column in model.columns)} FROM {model.table}"
    tables = {
        name: Counter(row[0] for row in session.rows(f"SELECT row::text FROM ({query}) row"))
        for name, query in queries.items()
    }
    session.commit()
    return EndState(tables)
