"""An object older than the last clean snapshot: superseded, with the little effect that order independence asks for.

It may supply the last good row of a key that newer objects hold in bad rows only, and it may show that a key was
first seen earlier than thought. Everything else in it has been decided by newer objects.
"""

import uuid
from typing import Any

import numpy as np
import pyarrow as pa

from services.silver import facts
from services.silver.badrows import keep_bad_rows
from services.silver.columns import take_columns_in
from services.silver.decide import counted, decide, good_key_hashes, good_row_hashes
from services.silver.diff import Action
from services.silver.job import Job
from services.silver.merge import refuse_if_too_bad, remove_rows, rewrite_first_seen
from services.silver.rewindow import rewindow
from services.silver.staging import stage_bad_keys, stage_seen
from services.silver.touched import Touched
from services.silver.write import apply_updates, clean_batch, stage_updates, write_clean, write_raw


def merge_late(job: Job) -> Touched:
    """Apply what a superseded object still has to say; fill job.counts; return what it touched."""
    actions = decide(job)
    if not job.file.bad.rows:
        stage_bad_keys(job)
    refuse_if_too_bad(job, counted(actions, Action.CONFLICT))
    take_columns_in(job)
    touched = Touched(job.dataset, job.settings.change_groups_max)
    keys = good_key_hashes(job)
    is_winner = (actions != Action.DUPLICATE) & (actions != Action.CONFLICT)
    actions = np.where(is_winner, np.uint8(Action.SUPERSEDED), actions)
    stage_seen(job, actions)
    job.session.execute("DELETE FROM bad_keys b USING seen s WHERE s.key_hash = b.key_hash")
    if job.state.has_facts:
        if job.is_clean_snapshot:
            _remove_stale_rows_it_lacks(job, touched)
        _supply_last_good_rows(job, actions, keys, is_winner, touched)
    job.actions = actions
    _count(job, actions)
    rewrite_first_seen(job, touched)
    facts.note_first_seen_of_missing(job)
    if facts.remember_first_seen(job) and "_first_seen_at" in touched.group_columns:
        touched.is_everything = True
    facts.forget_empty(job)
    keep_bad_rows(job, actions)
    job.counts.rewritten = rewindow(job, touched)
    return touched


def _count(job: Job, actions: Any) -> None:
    counts, tally = job.counts, job.file.tally
    counts.read, counts.discarded = tally.rows_read, tally.rows_discarded
    counts.inserted = counted(actions, Action.INSERT)
    counts.updated = counted(actions, Action.UPDATE)
    counts.duplicate = counted(actions, Action.DUPLICATE)
    counts.superseded = counted(actions, Action.SUPERSEDED)
    counts.quarantined = tally.rows_bad + tally.rows_orphaned + counted(actions, Action.CONFLICT)


def _remove_stale_rows_it_lacks(job: Job, touched: Touched) -> None:
    """Raise the floor of spoiled keys that this snapshot lacks, and remove their rows of older objects."""
    lacking = f"""
        SELECT f.key_hash FROM silver.key_facts f
        WHERE f.dataset = '{job.dataset.name}' AND f.bad_version IS NOT NULL
          AND (f.floor_version IS NULL OR f.floor_version <= {job.version})
          AND NOT EXISTS (SELECT FROM seen s WHERE s.key_hash = f.key_hash)
          AND NOT EXISTS (SELECT FROM bad_keys b WHERE b.key_hash = f.key_hash)
        """
    older = f"SELECT l.key_hash FROM ({lacking}) l JOIN {job.dataset.clean_table} o ON o._key_hash = l.key_hash"
    job.counts.deleted = remove_rows(job, touched, f"{older} WHERE o._version <= {job.version}")
    job.session.execute(
        f"UPDATE silver.key_facts f SET floor_version = {job.version} WHERE f.dataset = %s AND f.key_hash IN ({lacking})",
        (job.dataset.name,),
    )


def _supply_last_good_rows(job: Job, actions: Any, keys: Any, is_winner: Any, touched: Touched) -> None:
    """Turn rows into INSERT or UPDATE whose keys newer objects spoiled and no object between has settled.

    What the object itself settled in an earlier pass, it settles anew: another of its lines may count by now.
    """
    found = job.session.rows(
        f"""
        SELECT f.key_hash, c._key_hash IS NOT NULL, CASE WHEN c._version = {job.version} THEN c._row_hash END
        FROM silver.key_facts f
        LEFT JOIN {job.dataset.clean_table} c ON c._key_hash = f.key_hash
        WHERE f.dataset = %s AND f.bad_version IS NOT NULL
          AND (f.floor_version IS NULL OR f.floor_version <= {job.version})
          AND (c._version IS NULL OR c._version <= {job.version})
        """,
        (job.dataset.name,),
    )
    if not found:
        return
    wanted = {_halves_of(key): (is_live, own and _halves_of(own)) for key, is_live, own in found}
    upper, rows = np.array([half for half, _ in wanted], np.uint64), good_row_hashes(job)
    for index in np.flatnonzero(is_winner & np.isin(keys[:, 0], upper)).tolist():
        known = wanted.get((int(keys[index, 0]), int(keys[index, 1])))
        if known is not None and known[1] != (int(rows[index, 0]), int(rows[index, 1])):
            actions[index] = Action.UPDATE if known[0] else Action.INSERT
    if counted(actions, Action.INSERT) + counted(actions, Action.UPDATE) == 0:
        return
    write_raw(job, job.selected(actions, Action.INSERT, Action.UPDATE))
    stage_updates(job, (clean_batch(job, b, is_stale=True) for b in job.selected(actions, Action.UPDATE)))
    apply_updates(job)
    inserts = [clean_batch(job, batch, is_stale=True) for batch in job.selected(actions, Action.INSERT)]
    write_clean(job, iter(inserts))
    for batch in inserts:
        touched.add_rows(pa.Table.from_batches([batch]))
    touched.add_query(job.session, "replaced")
    touched.add_query(job.session, "updates")


def _halves_of(value: uuid.UUID) -> tuple[int, int]:
    return value.int >> 64, value.int & 0xFFFF_FFFF_FFFF_FFFF
