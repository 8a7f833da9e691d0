"""Merge a checked object into silver: decide, guard, write, settle, compute windows, note what changed.

Everything happens in the caller's transaction, under the dataset's lock. See shared rules of versions and dispositions
in ARCHITECTURE.md; the effect of an object older than the last clean snapshot is in late.py.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa

from services.silver import facts
from services.silver.badrows import close_quarantine, keep_bad_rows
from services.silver.columns import take_columns_in
from services.silver.copying import Stream
from services.silver.decide import counted, decide
from services.silver.diff import Action
from services.silver.guard import guard_removals
from services.silver.job import Job
from services.silver.rewindow import rewindow
from services.silver.staging import same_key, stage_bad_keys, stage_seen
from services.silver.touched import Touched
from services.silver.unknown import evolving
from services.silver.window import compute, sorted_by_series
from services.silver.write import (
    apply_updates,
    clean_batch,
    clean_names,
    sorted_by_key,
    stage_updates,
    start_empty_table_afresh,
    write_clean,
    write_raw,
)
from shared.errors import Rejected
from shared.rules import Rule

# So many removed keys are listed in the change set's Parquet file; gold does not depend on them.
REMOVED_KEYS_MAX = 100_000


def merge_keyed(job: Job) -> Touched:
    """Apply a replace or merge object to a keyed dataset; fill job.counts; return what it touched.

    Raises Rejected when more rows are bad than the contract allows, Held when a snapshot removes too much.
    """
    actions = job.actions = decide(job)
    refuse_if_too_bad(job, counted(actions, Action.CONFLICT))
    removed = guard_removals(job)
    take_columns_in(job)
    touched = Touched(job.dataset, job.settings.change_groups_max)
    _count(job, actions, removed)
    if removed:
        remove_rows(job, touched, "SELECT key_hash FROM removed")
    _write_rows(job, actions, touched)
    _settle(job, actions, touched)
    _recheck(job, actions, touched)
    keep_bad_rows(job, actions)
    job.counts.rewritten = rewindow(job, touched) if not _is_first_load(job) else 0
    return touched


def refuse_if_too_bad(job: Job, conflicts: int) -> None:
    """Raise Rejected when the share of bad rows is above the contract's limit, or a `reject` rule is broken."""
    if job.obj.request == "replay":
        return  # the file was accepted; these are its bad rows
    tally, limits = job.file.tally, job.dataset.limits
    _refuse_what_does_not_fit(job)
    # Which of two lines counts depends on their parents' coming; whether a file is accepted must not.
    bad = tally.rows_bad + (0 if job.dataset.references else conflicts)
    for rule in job.dataset.rules:
        failed, allowed = tally.rule_failures[rule.name], _share_allowed(rule)
        if allowed is not None and failed > allowed * tally.rows_read:
            lines = ", ".join(map(str, tally.samples[rule.name]))
            raise Rejected(
                f"{failed:,} of {tally.rows_read:,} rows break the rule {rule.name} ({rule.text}), more than the "
                f"{allowed:.1%} that its threshold allows; the first in line {lines}. Correct the file at its source, "
                f"or the rule in config/datasets/{job.dataset.name}.yaml"
            )
    if bad > limits.bad_rows_max_share * tally.rows_read:
        # Reasons without an example are orphans', which count towards no limit.
        told = [one for one in tally.reasons.most_common() if one[0] in tally.examples][:3]
        worst = "; ".join(
            f"{count:,} × {rule}{f' of {column}' if column else ''}, first {tally.examples[rule, column]}"
            for (rule, column), count in told
        )
        if conflicts:
            worst += f"{'; ' if worst else ''}{conflicts:,} × duplicate_key"
        raise Rejected(
            f"{bad:,} of {tally.rows_read:,} rows ({bad / tally.rows_read:.1%}) cannot be used, more than the "
            f"{limits.bad_rows_max_share:.0%} that limits.bad_rows_max_share allows: {worst}. "
            f"Correct the file at its source, or the contract in config/datasets/{job.dataset.name}.yaml"
        )


def _refuse_what_does_not_fit(job: Job) -> None:
    """Raise Rejected for what `schema_contract` freezes, and for more columns than the dataset may ever get."""
    tally, dataset = job.file.tally, job.dataset
    evolving(dataset, tally.unknown, "the file")
    if dataset.schema_contract.data_type != "freeze":
        return
    misfits = {c: n for (rule, c), n in tally.reasons.items() if rule == "type" and c not in dataset.primary_key}
    if misfits:
        column, count = max(misfits.items(), key=lambda item: item[1])
        raise Rejected(
            f"{count:,} of {tally.rows_read:,} rows have another type in {column}, first "
            f"{tally.examples['type', column]}, and `schema_contract.data_type: freeze` forbids it. Correct the file at "
            f"its source, or the column's type in config/datasets/{dataset.name}.yaml"
        )


def _share_allowed(rule: Rule) -> float | None:
    """Return the share of rows that may break a rule before the file is rejected; None: any."""
    if rule.severity == "reject":
        return rule.threshold or 0
    return rule.threshold if rule.severity == "quarantine" else None


def _is_first_load(job: Job) -> bool:
    return job.state.rows_live == 0 and job.file.good.is_in_memory


def _count(job: Job, actions: Any, removed: int) -> None:
    counts, tally = job.counts, job.file.tally
    counts.read, counts.discarded = tally.rows_read, tally.rows_discarded
    counts.inserted = counted(actions, Action.INSERT)
    counts.updated = counted(actions, Action.UPDATE)
    counts.unchanged = counted(actions, Action.UNCHANGED)
    counts.duplicate = counted(actions, Action.DUPLICATE)
    counts.superseded = counted(actions, Action.SUPERSEDED)
    counts.quarantined = tally.rows_bad + tally.rows_orphaned + counted(actions, Action.CONFLICT)
    counts.deleted = removed


def remove_rows(job: Job, touched: Touched, keys: str) -> int:
    """Delete the live rows whose key hashes a query yields; return how many."""
    key = job.dataset.primary_key
    names = dict.fromkeys(("_key_hash", "_first_seen_at", *key, *touched.group_columns, *touched.series_columns))
    columns = ", ".join(names)
    job.session.execute(
        f"CREATE TEMP TABLE removed_rows ON COMMIT DROP AS SELECT {columns} FROM {job.dataset.clean_table} WITH NO DATA"
    )
    removed = job.session.execute(
        f"""
        WITH gone AS (
            DELETE FROM {job.dataset.clean_table} c USING ({keys}) k WHERE c._key_hash = k.key_hash
            RETURNING {", ".join(f"c.{name}" for name in names)})
        INSERT INTO removed_rows SELECT * FROM gone
        """
    )
    facts.note_removed(job)
    touched.add_query(job.session, "removed_rows")
    job.removed_keys = job.session.rows(f"SELECT {', '.join(key)} FROM removed_rows LIMIT {REMOVED_KEYS_MAX}")
    return removed


def _write_rows(job: Job, actions: Any, touched: Touched) -> None:
    """Write new and changed rows to the raw history and the clean table."""
    if job.counts.inserted + job.counts.updated == 0:
        return
    if _is_first_load(job):
        _write_first_load(job, actions, touched)
        return
    write_raw(job, job.selected(actions, Action.INSERT, Action.UPDATE))
    if job.counts.updated:
        stage_updates(job, _clean(job, job.selected(actions, Action.UPDATE), touched))
        apply_updates(job)
        touched.add_query(job.session, "replaced")
    if job.counts.inserted:
        write_clean(job, _clean(job, job.selected(actions, Action.INSERT), touched))


def _write_first_load(job: Job, actions: Any, touched: Touched) -> None:
    """Fill an empty dataset; its clean rows are sorted, windowed and encoded while the server takes the raw ones."""
    start_empty_table_afresh(job)
    with closing(Stream(_whole_with_windows(job, actions, touched), chunks_max=12)) as clean:
        write_raw(job, job.selected(actions, Action.INSERT))
        clean.into(job.session, job.dataset.clean_table, clean_names(job))


def _clean(job: Job, batches: Iterator[pa.RecordBatch], touched: Touched) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        clean = clean_batch(job, sorted_by_key(job.dataset, batch))
        touched.add_rows(pa.Table.from_batches([clean]))
        yield clean


def _whole_with_windows(job: Job, actions: Any, touched: Touched) -> Iterator[pa.RecordBatch]:
    """Yield a first load as one sorted batch whose windowed columns are computed before it is written."""
    rows = pa.Table.from_batches(list(job.selected(actions, Action.INSERT))).combine_chunks()
    windowed = None
    if job.dataset.windowed:
        rows = sorted_by_series(rows, job.dataset.windowed)
        windowed = compute(rows, job.dataset.windowed, job.sql)
    whole = clean_batch(job, rows.combine_chunks().to_batches()[0], windowed)
    touched.add_rows(pa.Table.from_batches([whole]))
    yield sorted_by_key(job.dataset, whole)


def _settle(job: Job, actions: Any, touched: Touched) -> None:
    """Keep the facts that order independence needs; nothing to do for the newest object of an orderly dataset."""
    bad_keys = job.file.bad.rows and job.session.rows("SELECT EXISTS (SELECT FROM bad_keys)")[0][0]
    # Rows that it inserted have no older past; many files dropped at once come in any order.
    meets_others = job.counts.updated or job.counts.unchanged or job.counts.superseded
    newest = job.state.newest_landed_at
    is_late = bool(meets_others) and newest is not None and newest > job.obj.landed_at
    must_confirm = not job.is_clean_snapshot and job.counts.unchanged
    must_settle = bad_keys or is_late or must_confirm or job.state.has_facts or job.state.has_open_quarantine
    if not (must_settle or job.counts.deleted or job.counts.quarantined):
        return
    if not job.file.bad.rows:
        stage_bad_keys(job)
    stage_seen(job, actions)
    job.session.execute("DELETE FROM bad_keys b USING seen s WHERE s.key_hash = b.key_hash")
    if must_confirm:
        _confirm(job)
    if is_late:
        rewrite_first_seen(job, touched)
    if facts.remember_first_seen(job) and "_first_seen_at" in touched.group_columns:
        touched.is_everything = True  # the groups noted above carry the landing time instead
    facts.settle_good_keys(job)
    facts.spoil_bad_keys(job)
    if job.is_clean_snapshot:
        facts.settle_absent_keys(job)
    facts.forget_empty(job)
    close_quarantine(job)


def _confirm(job: Job) -> None:
    """Let unchanged rows take the object's version, else an older object could undo what this one confirmed."""
    job.session.execute(
        f"""
        UPDATE {job.dataset.clean_table} c SET _version = {job.version}
        FROM seen s WHERE {same_key(job.dataset, "c", "s")} AND c._version < {job.version}
        """
    )


def rewrite_first_seen(job: Job, touched: Touched) -> None:
    """Let live rows take the landing time of an older object that turns out to have held their keys."""
    names = dict.fromkeys((*touched.group_columns, *touched.series_columns, "_key_hash"))
    if "_first_seen_at" not in touched.group_columns:
        job.session.execute(
            f"""
            UPDATE {job.dataset.clean_table} c SET _first_seen_at = %s
            FROM seen s WHERE {same_key(job.dataset, "c", "s")} AND c._first_seen_at > %s
            """,
            (job.obj.landed_at, job.obj.landed_at),
        )
        return
    job.session.execute(
        f"CREATE TEMP TABLE reseen ON COMMIT DROP AS SELECT {', '.join(names)} FROM {job.dataset.clean_table} WITH NO DATA"
    )
    job.session.execute(
        f"""
        WITH done AS (
            UPDATE {job.dataset.clean_table} c SET _first_seen_at = %s
            FROM seen s WHERE {same_key(job.dataset, "c", "s")} AND c._first_seen_at > %s
            RETURNING {", ".join(f"old.{n} AS old_{n}" for n in names)}, {", ".join(f"new.{n} AS new_{n}" for n in names)}),
        kept AS (INSERT INTO reseen SELECT {", ".join(f"old_{n}" for n in names)} FROM done)
        INSERT INTO reseen SELECT {", ".join(f"new_{n}" for n in names)} FROM done
        """,
        (job.obj.landed_at, job.obj.landed_at),
    )
    touched.add_query(job.session, "reseen")


def _recheck(job: Job, actions: Any, touched: Touched) -> None:
    """Rewrite unchanged rows whose result differs because the contract changed since the last snapshot."""
    changed = job.state.contract_fingerprint not in (None, job.dataset.fingerprint)
    if not (changed and job.obj.is_snapshot and job.counts.unchanged):
        return
    job.session.execute("DROP TABLE IF EXISTS updates")
    stage_updates(job, (clean_batch(job, batch) for batch in job.selected(actions, Action.UNCHANGED)))
    results = [d.name for d in job.dataset.derived] + ["data_quality_score"]
    on_key = " AND ".join(f"c.{name} = u.{name}" for name in job.dataset.primary_key)
    job.session.execute(
        f"""
        UPDATE {job.dataset.clean_table} c SET {", ".join(f"{n} = u.{n}" for n in results)}
        FROM updates u WHERE {on_key}
          AND ({", ".join(f"c.{n}" for n in results)}) IS DISTINCT FROM ({", ".join(f"u.{n}" for n in results)})
        """
    )
    touched.add_query(job.session, "updates")
