"""Orphans: rows that refer to a key of another dataset which no valid object of it has ever held.

A row's reference is looked at under the locks of both datasets, when nothing else is wrong with the row. Whether a key
was *ever* held only ever turns from no to yes, so the verdict is a function of the set of objects once all are
processed: an orphan waits in quarantine, outside the file's limits, and the transaction that brings its parent asks for
its object to be gone through again. That pass is the object's own, with its own version, and it sees the parent. Freed
lines change which line of a key counts, so the object is read whole, not its quarantined lines alone.
"""

import json
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.silver.binary import constant_uuid
from services.silver.check import BAD_SCHEMA, good_schema, key_text
from services.silver.copying import copy_rows
from services.silver.job import Job
from services.silver.rowhash import canonical, row_hashes
from services.silver.spool import Spool
from services.silver.unique import SAMPLES_MAX
from services.silver.verdicts import reason
from shared.dataset import Dataset
from shared.ddl import postgres_type
from shared.events import ObjectRef
from shared.ports import Session
from shared.rules import References, Rule

_ORPHAN_COLUMNS = ("object_id", "line_number", "rule", "parent", "parent_key", "key_hash")
_RAW_LINES_MAX = 200_000  # whose text is held at a time; the file is read once more for each so many


@dataclass(frozen=True)
class Missing:
    """The values of a rule's column that its parent has never held: typed, as text, and the hashes of such keys."""

    rule: Rule
    references: References
    values: pa.Array
    texts: list[str]
    hashes: pa.Array


def parents(dataset: Dataset) -> set[str]:
    """Return the datasets that a dataset refers to."""
    return {rule.references.parent for rule in dataset.references if rule.references}


def set_orphans_aside(job: Job) -> None:
    """Move the rows whose parent is missing from job.file.good to job.file.bad, and note what they wait for.

    The caller holds the dataset's lock, and its parents' shared: whoever brings a parent comes wholly before or after.
    """
    if not job.dataset.references:
        return
    if job.obj.request != "replay":
        job.session.execute("DELETE FROM silver.orphans WHERE object_id = %s", (job.obj.object_id,))
    missing = [found for rule in job.dataset.references if (found := _missing(job, rule)) is not None]
    for rule in job.dataset.references:
        job.file.tally.rule_failures[rule.name] += 0
    if missing:
        _part(job, missing)


def _missing(job: Job, rule: Rule) -> Missing | None:
    """Look all distinct values up at once; None when every parent is known."""
    assert rule.references is not None
    references = rule.references
    distinct = [pc.unique(batch.column(references.of)) for batch in job.file.good.batches()]
    values = pc.unique(pa.concat_arrays(distinct)).drop_null() if distinct else pa.nulls(0)
    if not len(values):
        return None
    hashes = row_hashes([canonical(values)])
    job.session.execute(
        f"DROP TABLE IF EXISTS referred; CREATE TEMP TABLE referred (place bigint,"
        f" value {postgres_type(job.dataset.rule_types[references.of])}, key_hash uuid) ON COMMIT DROP"
    )
    sent = values.cast(pa.timestamp("us")) if pa.types.is_timestamp(values.type) else values
    columns = ["place", "value", "key_hash"]
    batch = pa.RecordBatch.from_arrays([pa.array(np.arange(len(values))), sent, hashes], names=columns)
    copy_rows(job.session, "referred", columns, iter([batch]))
    job.session.execute("ANALYZE referred")
    unknown = job.session.rows(
        f"""
        SELECT place, value::text FROM referred r
        WHERE NOT EXISTS (SELECT FROM silver.clean_{references.parent} c WHERE c.{references.parent_column} = r.value)
          AND NOT EXISTS (SELECT FROM silver.key_facts f WHERE f.dataset = %s AND f.key_hash = r.key_hash
                                                           AND f.first_seen_at IS NOT NULL)
        ORDER BY place
        """,
        (references.parent,),
    )
    if not unknown:
        return None
    places = pa.array([place for place, _ in unknown], pa.int64())
    return Missing(rule, references, values.take(places), [text for _, text in unknown], hashes.take(places))


def _part(job: Job, missing: list[Missing]) -> None:
    """Write good and bad rows anew, with the orphans among the bad; count them beside those the file answers for."""
    file, tally, folder = job.file, job.file.tally, job.settings.data_dir / "scratch"
    memory = job.settings.spool_memory_bytes_max
    good = file.cleanup.enter_context(Spool(good_schema(job.dataset), folder, memory))
    bad = file.cleanup.enter_context(Spool(BAD_SCHEMA, folder, memory))
    for batch in file.bad.batches():
        bad.add(batch)
    waiting: list[pa.RecordBatch] = []
    for batch in file.good.batches():
        found = [pc.index_in(batch.column(m.references.of), m.values) for m in missing]
        known = np.logical_and.reduce([pc.is_null(places).to_numpy(zero_copy_only=False) for places in found])
        good.add(batch.filter(pa.array(known)))
        if not known.all():
            orphans = batch.filter(pa.array(~known))
            tally.score_sum -= float(pc.sum(orphans.column("data_quality_score")).as_py())
            waiting.append(orphans)
            if sum(part.num_rows for part in waiting) >= _RAW_LINES_MAX:
                _put_aside(job, missing, waiting, bad)
                waiting = []
    _put_aside(job, missing, waiting, bad)
    tally.rows_orphaned = bad.rows - file.bad.rows
    job.file = replace(file, good=good, bad=bad)


def _put_aside(job: Job, missing: list[Missing], parts: list[pa.RecordBatch], bad: Spool) -> None:
    """Keep orphans as bad rows with their raw text, and note which key each waits for."""
    if not parts:
        return
    raw_of = job.file.raw_of({line for part in parts for line in part.column("_line_number").to_pylist()})
    for part in parts:
        found = [pc.index_in(part.column(m.references.of), m.values).to_pylist() for m in missing]
        bad.add(_bad_rows(job, part, missing, found, raw_of))
        for one, places in zip(missing, found, strict=True):
            _note(job, part, one, places)
    copied = ", ".join(_ORPHAN_COLUMNS)
    job.session.execute(
        f"INSERT INTO silver.orphans ({copied}) SELECT {copied} FROM waiting ON CONFLICT DO NOTHING; TRUNCATE waiting"
    )


def _bad_rows(
    job: Job, part: pa.RecordBatch, missing: list[Missing], found: list[list[int | None]], raw_of: dict[int, str]
) -> pa.RecordBatch:
    lines = part.column("_line_number").to_pylist()
    columns = [part.column(one.references.of) for one in missing]
    reasons = [
        json.dumps(
            [
                reason(one.rule, {one.references.of: column[row].as_py()})
                for one, column, places in zip(missing, columns, found, strict=True)
                if places[row] is not None
            ],
            ensure_ascii=False,
        )
        for row in range(part.num_rows)
    ]
    keys = [
        key_text(part, [n for n in part.schema.names if n in job.dataset.primary_key], r) for r in range(len(lines))
    ]
    arrays = [
        part.column("_line_number"),
        pa.array([raw_of[line] for line in lines], pa.string()),
        pa.array(keys, pa.string()),
        part.column("_key_hash")
        if job.dataset.primary_key
        else pa.nulls(len(lines), BAD_SCHEMA.field("key_hash").type),
        pa.array(reasons, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=BAD_SCHEMA)


def _note(job: Job, part: pa.RecordBatch, one: Missing, places: list[int | None]) -> None:
    """Copy one rule's orphans into the temporary table `waiting`, and count them for the log."""
    rows = [row for row, place in enumerate(places) if place is not None]
    if not rows:
        return
    lines = part.column("_line_number").take(pa.array(rows))
    keys = [place for place in places if place is not None]
    count = len(rows)
    arrays = [
        constant_uuid(job.obj.object_id, count),
        lines,
        pa.array([one.rule.name] * count, pa.string()),
        pa.array([one.references.parent] * count, pa.string()),
        pa.array([one.texts[key] for key in keys], pa.string()),
        one.hashes.take(pa.array(keys)),
    ]
    names = list(_ORPHAN_COLUMNS)
    job.session.execute(
        "CREATE TEMP TABLE IF NOT EXISTS waiting ON COMMIT DROP AS"
        f" SELECT {', '.join(names)} FROM silver.orphans WITH NO DATA"
    )
    copy_rows(job.session, "waiting", names, iter([pa.RecordBatch.from_arrays(arrays, names=names)]))
    tally, name = job.file.tally, one.rule.name
    tally.rule_failures[name] += count
    tally.samples.setdefault(name, []).extend(lines.to_pylist()[: SAMPLES_MAX - len(tally.samples[name])])
    tally.reasons.update(Counter({(name, one.references.of): count}))


def free_orphans(session: Session, dataset: Dataset) -> list[ObjectRef]:
    """Ask for the objects to be gone through again whose orphans' parent is there now; return them, oldest first.

    Part of the transaction that brings the parent, and complete: no object that refers to this dataset is merged
    while its lock is held. An object that is on its way just now sees the parent itself.
    """
    if not session.rows("SELECT EXISTS (SELECT FROM silver.orphans WHERE parent = %s)", (dataset.name,))[0][0]:
        return []
    (key,) = dataset.primary_key
    kind = postgres_type(dataset.column(key).type)
    freed = session.rows(
        f"""
        WITH due AS (
            SELECT m.object_id FROM bronze.ingestion_metadata m
            WHERE m.status IN ('done', 'superseded') AND m.object_id IN (
                SELECT o.object_id FROM silver.orphans o JOIN silver.quarantine q USING (object_id, line_number)
                WHERE o.parent = %(parent)s AND q.status <> 'discarded'
                  AND (EXISTS (SELECT FROM {dataset.clean_table} c WHERE c.{key} = CASE
                               WHEN pg_input_is_valid(o.parent_key, '{kind}') THEN o.parent_key::{kind} END)
                       OR EXISTS (SELECT FROM silver.key_facts f WHERE f.dataset = o.parent
                                  AND f.key_hash = o.key_hash AND f.first_seen_at IS NOT NULL)))
            ORDER BY m.object_id FOR UPDATE)
        UPDATE bronze.ingestion_metadata m
        SET status = 'registered', request = 'backfill', attempts = 0, epoch = epoch + 1, announced_at = NULL
        FROM due WHERE m.object_id = due.object_id
        RETURNING m.version, m.bucket, m.object_key, m.version_id
        """,
        {"parent": dataset.name},
    )
    return [ObjectRef(bucket=bucket, key=key, version_id=version) for _, bucket, key, version in sorted(freed)]
