"""A year of history, generated in the database: objects, runs and results of checks."""

from datetime import date

from shared.ports import Session

LAST_DAY = date(2026, 11, 25)
DATASETS, CHECKS = ("covid", "users", "posts", "d4"), 8


def write_year(session: Session, days: int = 365, objects_a_day: int = 6, datasets: tuple[str, ...] = DATASETS) -> None:
    """Write that many objects a day and dataset, each with a run and a result of each check; commits.

    The last check found something in the first days only.
    """
    shape = {"last": LAST_DAY, "days": days, "objects": objects_a_day, "datasets": list(datasets), "checks": CHECKS}
    session.execute(
        """
        INSERT INTO bronze.ingestion_metadata (object_id, dataset, bucket, object_key, version_id, etag, size_bytes,
            landed_at, version, write_disposition, discovered_by, status, rows_read, rows_quarantined, rows_discarded,
            data_quality_score, finished_at)
        SELECT md5(d || day::text || n)::uuid, d, 'bronze-layer', d || '/' || day || '-' || n, '', '', 1000,
            day + n * interval '1 hour', md5(day::text || n || d)::uuid, 'replace', 'poll', 'done', 1000, 0, 0,
            99 - extract(doy FROM day) %% 7, day + n * interval '1 hour'
        FROM unnest(%(datasets)s) d, generate_series(0, %(objects)s - 1) n,
            generate_series(%(last)s::timestamptz - (%(days)s - 1) * interval '1 day', %(last)s, interval '1 day') day
        """,
        shape,
    )
    session.execute(
        """
        INSERT INTO bronze.processing_runs (object_id, dataset, kind, outcome, rows_read, started_at, finished_at)
        SELECT object_id, dataset, 'first', 'done', rows_read, landed_at, landed_at FROM bronze.ingestion_metadata
        ORDER BY landed_at
        """
    )
    session.execute(
        """
        INSERT INTO silver.data_quality_logs (table_name, quality_check, severity, records_checked, records_failed,
            failure_rate, threshold, passed, object_id, check_timestamp, details)
        SELECT 'silver.clean_' || dataset, 'rule_' || n, 'warn', 1000, found, found * 0.001, 0, found = 0, object_id,
            landed_at, '{"check": "x > 0", "samples": [2, 5, 9]}'
        FROM bronze.ingestion_metadata, generate_series(0, %(checks)s - 1) n,
            LATERAL (SELECT CASE WHEN n < %(checks)s - 1
                OR landed_at < %(last)s::timestamptz - (%(days)s - 10) * interval '1 day' THEN n * 3 ELSE 0
                END AS found) AS one
        ORDER BY landed_at
        """,
        shape,
    )
    session.commit()
    session.execute("ANALYZE")
    session.commit()
