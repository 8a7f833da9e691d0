"""Facts about single keys: what makes silver a function of the set of objects, whatever their order.

A key's fate follows from the valid objects in version order: a good row sets its row; a quarantined row keeps the last
good one, marked stale; absence from a snapshot removes it. Live rows hold most of that. `silver.key_facts` holds the
rest, for few keys: when a removed key was first seen, that a newer object held the key in a bad row only
(`bad_version`), and below which version objects have no say on such a key any more (`floor_version`).

Invariant: a live row is stale exactly when its key has a bad_version newer than the row.
"""

from services.silver.job import Job
from services.silver.staging import same_key


def remember_first_seen(job: Job) -> int:
    """Give inserted rows the time their key was first seen before it was removed; forget the note.

    Return how many rows got another time.

    Needs the temporary table `seen` of the keys that the object holds in good rows.
    """
    table, dataset = job.dataset.clean_table, job.dataset.name
    changed = job.session.execute(
        f"""
        UPDATE {table} c SET _first_seen_at = f.first_seen_at
        FROM silver.key_facts f, seen s
        WHERE f.dataset = %s AND f.key_hash = s.key_hash AND {same_key(job.dataset, "c", "s")}
          AND f.first_seen_at < c._first_seen_at
        """,
        (dataset,),
    )
    job.session.execute(
        f"""
        UPDATE silver.key_facts f SET first_seen_at = NULL FROM seen s
        WHERE f.dataset = %s AND f.key_hash = s.key_hash AND f.first_seen_at IS NOT NULL
          AND EXISTS (SELECT FROM {table} c WHERE {same_key(job.dataset, "c", "s")})
        """,
        (dataset,),
    )
    return changed


def settle_good_keys(job: Job) -> None:
    """Let the good rows of the object settle their keys; what a newer object spoiled stays stale."""
    table, dataset = job.dataset.clean_table, job.dataset.name
    job.session.execute(
        f"""
        UPDATE {table} c SET _stale = false, _version = greatest(c._version, {job.version})
        FROM silver.key_facts f, seen s
        WHERE f.dataset = %s AND f.key_hash = s.key_hash AND f.bad_version <= {job.version}
          AND {same_key(job.dataset, "c", "s")} AND c._stale
        """,
        (dataset,),
    )
    job.session.execute(
        f"""
        UPDATE silver.key_facts f SET bad_version = NULL, floor_version = NULL FROM seen s
        WHERE f.dataset = %s AND f.key_hash = s.key_hash AND f.bad_version <= {job.version}
        """,
        (dataset,),
    )
    if job.is_clean_snapshot:
        job.session.execute(
            f"""
            UPDATE silver.key_facts f SET floor_version = greatest(f.floor_version, {job.version}) FROM seen s
            WHERE f.dataset = %s AND f.key_hash = s.key_hash AND f.bad_version > {job.version}
            """,
            (dataset,),
        )
    job.session.execute(
        f"""
        UPDATE {table} c SET _stale = true
        FROM silver.key_facts f, seen s
        WHERE f.dataset = %s AND f.key_hash = s.key_hash AND {same_key(job.dataset, "c", "s")}
          AND f.bad_version > c._version AND NOT c._stale
        """,
        (dataset,),
    )


def spoil_bad_keys(job: Job) -> None:
    """Mark the last good rows of keys that the object holds in bad rows only; remember the keys without one.

    Needs the temporary table `bad_keys`. A key that a newer object holds in a good row is left alone.
    """
    table, dataset = job.dataset.clean_table, job.dataset.name
    floor = f"'{job.state.snapshot_version}'::uuid" if job.state.snapshot_version else "NULL"
    job.session.execute(
        f"""
        INSERT INTO silver.key_facts AS f (dataset, key_hash, bad_version, floor_version)
        SELECT %s, b.key_hash, {job.version}, {floor}
        FROM bad_keys b
        WHERE NOT EXISTS (SELECT FROM {table} c WHERE {same_key(job.dataset, "c", "b")} AND c._version > {job.version})
        ORDER BY b.key_hash
        ON CONFLICT (dataset, key_hash) DO UPDATE SET
            floor_version = CASE WHEN f.bad_version IS NULL THEN excluded.floor_version ELSE f.floor_version END,
            bad_version = greatest(f.bad_version, excluded.bad_version)
        """,
        (dataset,),
    )
    job.session.execute(
        f"""
        UPDATE {table} c SET _stale = true
        FROM bad_keys b WHERE {same_key(job.dataset, "c", "b")} AND c._version < {job.version} AND NOT c._stale
        """
    )


def settle_absent_keys(job: Job) -> None:
    """Let a clean snapshot settle the keys it does not hold. Needs the temporary tables `seen` and `bad_keys`."""
    absent = (
        "f.dataset = %s AND NOT EXISTS (SELECT FROM seen s WHERE s.key_hash = f.key_hash)"
        " AND NOT EXISTS (SELECT FROM bad_keys b WHERE b.key_hash = f.key_hash)"
    )
    job.session.execute(
        f"""
        UPDATE silver.key_facts f SET bad_version = NULL, floor_version = NULL
        WHERE {absent} AND f.bad_version < {job.version}
        """,
        (job.dataset.name,),
    )
    job.session.execute(
        f"""
        UPDATE silver.key_facts f SET floor_version = greatest(f.floor_version, {job.version})
        WHERE {absent} AND f.bad_version > {job.version}
        """,
        (job.dataset.name,),
    )


def note_removed(job: Job) -> None:
    """Remember when removed keys were first seen. Needs the temporary table `removed_rows`."""
    job.session.execute(
        """
        INSERT INTO silver.key_facts AS f (dataset, key_hash, first_seen_at)
        SELECT %s, _key_hash, min(_first_seen_at) FROM removed_rows GROUP BY _key_hash ORDER BY _key_hash
        ON CONFLICT (dataset, key_hash) DO UPDATE SET first_seen_at = least(f.first_seen_at, excluded.first_seen_at)
        """,
        (job.dataset.name,),
    )


def note_first_seen_of_missing(job: Job) -> None:
    """Remember that a superseded object held keys which have no live row, and when it was landed."""
    job.session.execute(
        f"""
        INSERT INTO silver.key_facts AS f (dataset, key_hash, first_seen_at)
        SELECT %s, s.key_hash, %s FROM seen s
        WHERE NOT EXISTS (SELECT FROM {job.dataset.clean_table} c WHERE {same_key(job.dataset, "c", "s")})
        ORDER BY s.key_hash
        ON CONFLICT (dataset, key_hash) DO UPDATE SET first_seen_at = least(f.first_seen_at, excluded.first_seen_at)
        """,
        (job.dataset.name, job.obj.landed_at),
    )


def forget_empty(job: Job) -> None:
    """Drop facts that say nothing any more."""
    job.session.execute(
        "DELETE FROM silver.key_facts WHERE dataset = %s AND first_seen_at IS NULL AND bad_version IS NULL",
        (job.dataset.name,),
    )
