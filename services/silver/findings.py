"""What the table shows after a merge: findings that are logged, and never decide what becomes of a row."""

from services.silver.job import Job
from services.silver.unique import SAMPLES_MAX


def find_shared_values(job: Job) -> None:
    """Count the object's rows whose values other live rows hold as well, after the merge, for the log.

    One pass over the table for each rule that says `within: table`, if the object wrote anything.
    """
    rules = [rule for rule in job.dataset.rules if rule.unique and rule.unique.within == "table"]
    if not rules or not job.counts.inserted + job.counts.updated:
        return
    for rule in rules:
        columns = ", ".join(rule.columns)
        known = " AND ".join(f"{name} IS NOT NULL" for name in rule.columns)
        found = job.session.rows(
            f"SELECT count(*) FILTER (WHERE _object_id = %s), (array_agg(_line_number ORDER BY _line_number)"
            f" FILTER (WHERE _object_id = %s))[1:{SAMPLES_MAX}], {columns} FROM {job.dataset.clean_table}"
            f" WHERE {known} GROUP BY {columns} HAVING count(*) > 1 AND bool_or(_object_id = %s) ORDER BY 2",
            (job.obj.object_id,) * 3,
        )
        job.file.tally.rule_failures[rule.name] += sum(count for count, *_ in found)
        job.file.tally.samples[rule.name] = [
            {"lines": lines, "value": ", ".join(map(str, value))} for _, lines, *value in found[:SAMPLES_MAX]
        ]
