"""Read a claimed object and merge it: one object, one transaction."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.silver.append import merge_append
from services.silver.batchsql import BatchSql
from services.silver.check import BAD_SCHEMA, Checker, Tally, good_schema
from services.silver.claim import finish
from services.silver.deliveries import judge_delivery, judge_repeat
from services.silver.findings import find_shared_values
from services.silver.job import Counts, FileRead, Job, ObjectVersion, Stored
from services.silver.late import merge_late
from services.silver.merge import merge_keyed
from services.silver.orphans import free_orphans, parents, set_orphans_aside
from services.silver.profile import Profiler
from services.silver.repeat import merge_repeat
from services.silver.replay import close_passed
from services.silver.reread import raw_of_lines, read_records
from services.silver.spool import Spool
from services.silver.state import has_new_day, load_state, lock_datasets, save_state
from services.silver.touched import Touched
from services.silver.unpack import unpack
from shared.dataset import Dataset
from shared.errors import ObjectDamaged, Rejected
from shared.events import ObjectRef
from shared.failpoints import hit
from shared.locks import end_silent_holder
from shared.ports import ObjectInfo, Prepared, Session
from shared.rules import Rule
from shared.settings import Settings

_NAMESPACE = uuid.UUID("0d0f5f9a-7b1c-5c0e-8e55-5a7a3f0f6e21")

_CHANGE_SET = Prepared(
    """
    INSERT INTO silver.change_sets (change_set_id, dataset, object_id, is_everything, groups, group_columns,
                                    rows_inserted, rows_updated, rows_deleted, rows_rewritten)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    """
)
_PENDING = Prepared(
    "INSERT INTO gold.pending (model, change_set_id, dataset) SELECT unnest(%s::text[]), %s::uuid, %s::text"
)

Fetch = Callable[[ObjectInfo, Path], str]  # as ObjectStore.fetch


@dataclass(frozen=True)
class Merged:
    """What a merge leaves behind once it is committed."""

    status: str  # done or superseded
    counts: Counts
    change_set_id: uuid.UUID | None
    job: Job
    freed: tuple[ObjectRef, ...] = ()  # asked to be gone through again, as what their orphans refer to is there now


@contextmanager
def read_object(
    fetch: Fetch,
    dataset: Dataset,
    stored: Stored,
    path: Path,
    settings: Settings,
    sql: BatchSql,
    repeats: Callable[[str], bool] = lambda _: False,
) -> Iterator[FileRead]:
    """Download, unpack, parse, cast and check an object; its rows wait in spools until the with-block ends.

    `path` is where its bytes lie meanwhile; the spools are beside it.

    Where `repeats` says of its sha256 that it would change nothing, the file is not parsed.

    Raises ObjectGone, ObjectDamaged when length or sha256 differ from what was stored, Rejected when the file cannot
    be read as its contract says.
    """
    scratch = path.parent
    scratch.mkdir(parents=True, exist_ok=True)
    with ExitStack() as cleanup:
        cleanup.callback(path.unlink, missing_ok=True)
        if stored.info.size_bytes > dataset.limits.file_bytes_max:
            raise Rejected(f"the file has {stored.info.size_bytes:,} bytes, more than limits.file_bytes_max allows")
        sha256 = _fetched_whole(fetch, stored, path)
        hit("silver.fetched")
        good = cleanup.enter_context(Spool(good_schema(dataset), scratch, settings.spool_memory_bytes_max))
        bad = cleanup.enter_context(Spool(BAD_SCHEMA, scratch, settings.spool_memory_bytes_max))
        checker = Checker(dataset, sql)
        profiler = Profiler(dataset) if dataset.expectations else None
        if repeats(sha256):
            yield FileRead(lambda _: {}, good, bad, checker.tally, sha256, cleanup, is_repeat=True)
            return
        unpack(path, dataset.limits)
        with path.open("rb") as file:
            for records in read_records(file, dataset, settings):
                for checked in checker.check(records):
                    good.add(checked.good)
                    bad.add(checked.bad)
                    if profiler:
                        profiler.add(checked.good)
                if checker.tally.rows_read > dataset.limits.rows_max:
                    raise Rejected(f"the file has more than the {dataset.limits.rows_max:,} rows of limits.rows_max")
        tally = checker.tally
        if good.rows + bad.rows + tally.rows_discarded != tally.rows_read:
            raise AssertionError(
                f"{tally.rows_read} records were read, but {good.rows} good and {bad.rows} bad ones kept"
            )
        yield FileRead(
            lambda lines: raw_of_lines(path, dataset, settings, lines),
            good, bad, tally, sha256, cleanup, checker.header,
            profiler.profile(checker.header) if profiler else None,
        )  # fmt: skip


def _fetched_whole(fetch: Fetch, stored: Stored, path: Path) -> str:
    """Download the object and return its sha256; bytes that were damaged on the way are asked for once more.

    Raises ObjectGone, and ObjectDamaged when length or sha256 differ both times: then the store holds other bytes.
    """
    for is_last in (False, True):
        try:
            sha256 = fetch(stored.info, path)
            if stored.content_sha256 in (None, sha256):
                return sha256
            raise ObjectDamaged(f"its sha256 is {sha256}, but {stored.content_sha256} was declared when it was landed")
        except ObjectDamaged:
            if is_last:
                raise
    raise AssertionError("unreachable")


def merge_object(
    session: Session,
    dataset: Dataset,
    obj: ObjectVersion,
    file: FileRead,
    settings: Settings,
    sql: BatchSql,
    gold_models: Callable[[str], Sequence[str]],
) -> Merged:
    """Merge and record in the session's transaction, which the caller commits, or rolls back on any exception.

    Raises Rejected, Held or ClaimLost, and NoRepeat when a file that was not read must be.
    """
    lock_for(session, dataset, settings)
    hit("silver.locked")
    state = load_state(session, dataset)
    job = Job(session, dataset, obj, file, state, settings, sql)
    is_late = state.snapshot_version is not None and obj.version < state.snapshot_version
    if file.is_repeat:
        return _finish_repeat(job, gold_models(dataset.name))
    set_orphans_aside(job)
    merge = merge_append if dataset.is_append else merge_late if is_late else merge_keyed
    touched = merge(job)
    hit("silver.merged")
    job.counts.assert_complete()
    is_superseded = is_late or (dataset.is_append and job.counts.superseded > 0)
    status = "superseded" if is_superseded else "done"
    change_set_id = _note_changes(job, touched, gold_models(dataset.name))
    hit("silver.noted")
    save_state(job, is_late)
    if obj.request:
        close_passed(job)
    find_shared_values(job)
    _log_quality(job)
    if not is_superseded:
        judge_delivery(job)
    may_free = state.has_orphans or dataset.name in parents(dataset)  # its own, from this very merge
    freed = free_orphans(session, dataset) if may_free else []
    finish(session, obj, status, job.counts, _score(job.file), file)
    return Merged(status, job.counts, change_set_id, job, tuple(freed))


def lock_for(session: Session, dataset: Dataset, settings: Settings) -> None:
    """Take the locks of a dataset and of its parents until the transaction ends.

    Raises Unavailable when a live worker keeps one of them.
    """
    silence = settings.heartbeat_silence_seconds
    lock_datasets(
        session, dataset.name, parents(dataset), settings.retry_total_seconds,
        lambda lock: end_silent_holder(session, silence, lock),
    )  # fmt: skip


def _finish_repeat(job: Job, models: Sequence[str]) -> Merged:
    """Record a snapshot that repeats the applied one; gold hears of it only when its day is new."""
    score = merge_repeat(job)
    job.counts.assert_complete()
    job.actions = np.empty(0, np.uint8)
    # A change set without groups: models that show the day of the newest landing notice, the others have nothing to do.
    change_set_id = _note_changes(job, Touched(job.dataset, job.settings.change_groups_max), models)
    judge_repeat(job)
    save_state(job, is_late=False)
    finish(job.session, job.obj, "done", job.counts, score, job.file)
    return Merged("done", job.counts, change_set_id, job)


def _score(file: FileRead) -> float | None:
    return file.tally.score_sum / file.good.rows if file.good.rows else None


def _note_changes(job: Job, touched: Touched, models: Sequence[str]) -> uuid.UUID | None:
    """Write the change set and gold's queue; nothing when the merge changed nothing that a model could show."""
    if not touched.has_changes and not has_new_day(job):
        return None
    is_everything = touched.has_changes and (touched.is_everything or not touched.group_columns)
    columns = list(touched.group_columns)
    return _insert_change_set(job.session, job.obj, is_everything, touched.groups, columns, job.counts, models)


def write_change_set(session: Session, dataset: Dataset, obj: ObjectVersion, models: Sequence[str]) -> uuid.UUID:
    """Write a change set that says `everything`, and gold's queue."""
    return _insert_change_set(session, obj, True, [], list(dataset.change_groups), Counts(), models)


def _insert_change_set(
    session: Session,
    obj: ObjectVersion,
    is_everything: bool,
    groups: Sequence[object],
    group_columns: Sequence[str],
    counts: Counts,
    models: Sequence[str],
) -> uuid.UUID:
    change_set_id = uuid.uuid5(_NAMESPACE, f"{obj.object_id} {obj.epoch}")
    session.later(
        _CHANGE_SET,
        (
            change_set_id, obj.dataset, obj.object_id, is_everything, json.dumps(groups), list(group_columns),
            counts.inserted, counts.updated, counts.deleted, counts.rewritten,
        ),
    )  # fmt: skip
    session.later(_PENDING, (list(models), change_set_id, obj.dataset))
    return change_set_id


def _log_quality(job: Job) -> None:
    """Write one row a rule, and one for what could not be cast or identified."""
    tally, limits = job.file.tally, job.dataset.limits
    checks: list[tuple[str, str, int, float | None, Mapping[str, object]]] = [
        (rule.name, rule.severity, tally.rule_failures[rule.name], rule.threshold, _details(rule, tally))
        for rule in job.dataset.rules
    ]
    reasons = {f"{rule} {column}".strip(): count for (rule, column), count in tally.reasons.most_common(20)}
    if job.new_columns:
        checks.append(("schema_evolved", "warn", len(job.new_columns), 0, {"columns": list(job.new_columns)}))
    if tally.uncast:
        checks.append(("cast_values", "warn", tally.uncast.total(), None, dict(tally.uncast.most_common(20))))
    checks.append(
        (
            "readable_rows",
            "quarantine",
            job.counts.quarantined - tally.rows_orphaned,
            limits.bad_rows_max_share,
            reasons,
        )
    )
    checked, table, object_id = max(tally.rows_read, 1), job.dataset.clean_table, job.obj.object_id
    rows = [
        (
            table, name, severity, tally.rows_read, failed, failed / checked, threshold,
            failed <= (threshold or 0) * checked, object_id, json.dumps(details),
        )
        for name, severity, failed, threshold, details in checks
    ]  # fmt: skip
    values = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb)"] * len(rows))
    job.session.later(
        "INSERT INTO silver.data_quality_logs (table_name, quality_check, severity, records_checked, records_failed,"
        f" failure_rate, threshold, passed, object_id, details) VALUES {values}",
        [value for row in rows for value in row],
    )


def _details(rule: Rule, tally: Tally) -> dict[str, object]:
    samples = tally.samples.get(rule.name)
    return {"check": rule.text, **({"samples": samples} if samples else {})}
