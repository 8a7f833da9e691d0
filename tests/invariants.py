"""What must hold of bronze and silver at any time, whatever happened before."""

from shared.catalog import Catalog
from shared.ports import Session

COUNTS = (
    "rows_inserted", "rows_updated", "rows_unchanged", "rows_quarantined", "rows_duplicate", "rows_superseded",
    "rows_discarded",
)  # fmt: skip


def broken_invariants(session: Session, catalog: Catalog) -> list[str]:
    """Return a sentence for each that does not hold: the ledger's arithmetic, lineage, noted sizes, reasons to be stale."""
    wrong = [
        f"{key}: {read} records were read, but not as many accounted for"
        for key, read in session.rows(
            "SELECT object_key, rows_read FROM bronze.ingestion_metadata"
            f" WHERE status IN ('done', 'superseded') AND rows_read IS DISTINCT FROM {' + '.join(COUNTS)}"
        )
    ]
    for dataset in catalog.datasets.values():
        clean = dataset.clean_table
        lost = session.rows(
            f"SELECT count(*) FROM {clean} c WHERE NOT EXISTS (SELECT FROM {dataset.raw_table} r"
            " WHERE r._object_id = c._object_id AND r._line_number = c._line_number AND r._row_hash = c._row_hash)"
        )[0][0]
        if lost:
            wrong.append(f"{lost} rows of {clean} have no raw row")
        live = session.rows(f"SELECT count(*) FROM {clean}")[0][0]
        noted = session.rows("SELECT rows_live FROM silver.datasets WHERE dataset = %s", (dataset.name,))
        if noted not in ([], [(live,)]):
            wrong.append(f"{clean} has {live} rows, but {noted[0][0]} are noted")
        stale = session.rows(
            f"SELECT count(*) FROM {clean} c LEFT JOIN silver.key_facts f"
            " ON f.dataset = %s AND f.key_hash = c._key_hash AND f.bad_version > c._version"
            " WHERE c._stale <> (f.key_hash IS NOT NULL)",
            (dataset.name,),
        )[0][0]
        if stale:
            wrong.append(f"{stale} rows of {clean} are stale, or not, without a reason")
    wrong += _left_alone(session, catalog)
    session.commit()
    return wrong


def _left_alone(session: Session, catalog: Catalog) -> list[str]:
    """Return a sentence for each parent that is there while its orphans' objects are not asked for again."""
    references = [rule.references for dataset in catalog.datasets.values() for rule in dataset.references]
    waiting = {
        (one.key, key)
        for one in references
        if one
        for (key,) in session.rows(
            f"SELECT parent_key FROM silver.orphans o JOIN bronze.ingestion_metadata m USING (object_id)"
            f" JOIN {catalog[one.parent].clean_table} c ON c.{one.parent_column}::text = o.parent_key"
            " JOIN silver.quarantine q USING (object_id, line_number)"
            " WHERE o.parent = %s AND m.status IN ('done', 'superseded') AND q.status <> 'discarded'",
            (one.parent,),
        )
    }
    return [f"{column} {key} is there, but its orphans were not freed" for column, key in sorted(waiting)]
