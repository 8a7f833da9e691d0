"""Expectations on a delivery: its profile, those before it, and what was found, all in the object's transaction."""

import json
import logging
from collections.abc import Sequence

from services.silver.expect import Delivery, Finding, judge
from services.silver.job import Job
from services.silver.profile import Profile, profile_of
from shared.expectations import HISTORY_MAX

log = logging.getLogger("silver")

PROFILES_KEPT = 2 * HISTORY_MAX  # of each dataset: what expectations may look back on, withdrawn ones aside

_HISTORY = """
SELECT p.profile FROM silver.profiles p JOIN bronze.ingestion_metadata m USING (object_id)
WHERE p.dataset = %s AND p.version < %s AND p.write_disposition = %s AND NOT m.is_withdrawn
ORDER BY p.version DESC LIMIT %s
"""
_KEEP = """
INSERT INTO silver.profiles (object_id, dataset, version, write_disposition, profile) VALUES (%s, %s, %s, %s, %s::jsonb)
ON CONFLICT (object_id) DO UPDATE SET profile = excluded.profile, created_at = clock_timestamp()
"""
_TRIM = """
DELETE FROM silver.profiles WHERE dataset = %s AND version < (
    SELECT version FROM silver.profiles WHERE dataset = %s ORDER BY version DESC OFFSET %s LIMIT 1)
"""
_LOG = """
INSERT INTO silver.data_quality_logs (table_name, quality_check, kind, severity, records_checked, records_failed,
                                      failure_rate, threshold, passed, object_id, details)
SELECT %s, quality_check, 'expectation', severity, records_checked, records_failed, failure_rate, threshold, passed, %s,
       jsonb_build_object('check', kind, 'message', message)
FROM jsonb_to_recordset(%s::jsonb) AS f (quality_check text, kind text, severity text, records_checked bigint,
    records_failed bigint, failure_rate numeric, threshold numeric, passed boolean, message text)
"""
_REMEMBER = """
INSERT INTO silver.expectations AS known (dataset, quality_check, kind, severity, passed, message, object_id, failing_since)
SELECT %s, quality_check, kind, severity, passed, message, %s, CASE WHEN passed THEN NULL ELSE clock_timestamp() END
FROM jsonb_to_recordset(%s::jsonb) AS f (quality_check text, kind text, severity text, passed boolean, message text)
ON CONFLICT (dataset, quality_check) DO UPDATE SET
    kind = excluded.kind, severity = excluded.severity, passed = excluded.passed, message = excluded.message,
    object_id = excluded.object_id, checked_at = excluded.checked_at,
    failing_since = CASE WHEN excluded.passed THEN NULL ELSE coalesce(known.failing_since, excluded.failing_since) END
"""


def judge_delivery(job: Job) -> None:
    """Judge an object that was merged, and keep its profile; nothing for corrections, replays and superseded objects."""
    if job.file.profile is not None and _is_delivery(job):
        _record(job, job.file.profile)


def judge_repeat(job: Job) -> None:
    """Judge a snapshot that repeats the applied one, by that one's profile: the file was not read."""
    if not _is_delivery(job):
        return
    kept = job.session.rows(
        "SELECT p.profile FROM silver.profiles p JOIN silver.datasets d ON d.snapshot_object_id = p.object_id"
        " WHERE d.dataset = %s",
        (job.dataset.name,),
    )
    if kept:
        _record(job, profile_of(kept[0][0]))


def _is_delivery(job: Job) -> bool:
    if not job.dataset.expectations or job.obj.request == "replay":
        return False
    return job.dataset.delivers_by(job.obj.write_disposition)


def _record(job: Job, profile: Profile) -> None:
    obj, session = job.obj, job.session
    history = [
        profile_of(row[0])
        for row in session.rows(_HISTORY, (obj.dataset, obj.version, obj.write_disposition, HISTORY_MAX))
    ]
    delivery = Delivery(
        profile, obj.landed_at, job.state.rows_live, job.counts.deleted, job.counts.updated, tuple(history)
    )
    findings = judge(job.dataset.expectations, delivery)
    log_findings(job, findings)
    session.execute(_KEEP, (obj.object_id, obj.dataset, obj.version, obj.write_disposition, profile.to_json()))
    if len(history) >= HISTORY_MAX:
        session.execute(_TRIM, (obj.dataset, obj.dataset, PROFILES_KEPT))


def log_findings(job: Job, findings: Sequence[Finding]) -> None:
    """Write what was found into the history, and as what each expectation said last; forget those not declared any more."""
    dataset, session = job.dataset, job.session
    found = json.dumps([_as_record(one) for one in findings], ensure_ascii=False)
    session.execute(_LOG, (dataset.clean_table, job.obj.object_id, found))
    session.execute(_REMEMBER, (dataset.name, job.obj.object_id, found))
    declared = [check for one in dataset.expectations for check in one.checks]
    session.execute(
        "DELETE FROM silver.expectations WHERE dataset = %s AND quality_check <> ALL(%s)", (dataset.name, declared)
    )
    for one in findings:
        if not one.passed:
            log.warning(
                "A delivery is not as expected.",
                extra={
                    "action": "expectation_failed", "dataset": dataset.name, "expectation": one.check,
                    "severity": one.severity, "reason": one.message,
                },
            )  # fmt: skip


def _as_record(one: Finding) -> dict[str, object]:
    return {
        "quality_check": one.check, "kind": one.kind, "severity": one.severity, "passed": one.passed,
        "records_checked": one.checked, "records_failed": one.failed, "failure_rate": one.failure_rate,
        "threshold": one.threshold, "message": one.message,
    }  # fmt: skip
