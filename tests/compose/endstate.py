"""What the database shows against what the droppers' files come to."""

from collections import Counter, defaultdict
from datetime import date, timedelta
from typing import Any

from tests.compose.droppers import Expected, Key
from tests.compose.engine import Engine, Failed

COUNTS = (
    "rows_inserted", "rows_updated", "rows_unchanged", "rows_quarantined", "rows_duplicate", "rows_superseded",
    "rows_discarded",
)  # fmt: skip


def shown(engine: Engine) -> dict[str, Any]:
    """Return what readers see, as plain values that can be compared."""
    covid = engine.rows(
        "SELECT record_date, country, province, confirmed, deaths, recovered, daily_new_cases, _stale"
        " FROM silver.clean_covid",
        "reader",
    )
    quarantine = engine.rows(
        "SELECT DISTINCT m.object_key, q.line_number FROM silver.quarantine q"
        " JOIN bronze.ingestion_metadata m USING (object_id) WHERE q.status = 'open'"
    )
    return {
        "covid": {row[:3]: row[3:7] for row in covid},
        "stale": {row[:3] for row in covid if row[7]},
        "quarantine": set(quarantine),
        "users": {
            row[0]: row[1:]
            for row in engine.rows("SELECT user_id, full_name, company_name FROM silver.clean_users", "reader")
        },
        "world": dict(
            engine.rows("SELECT summary_date, total_confirmed FROM gold.covid_global_summary", "reader"),
        ),
        "trends": engine.rows("SELECT count(*) FROM gold.covid_country_trends", "reader")[0][0],
        "companies": dict(
            engine.rows("SELECT company_name, user_count FROM gold.mv_user_company_analysis", "reader"),
        ),
    }


def wanted(expected: Expected) -> dict[str, Any]:
    """Return the same of the expectation, computed from the files alone."""
    world: dict[date, int] = defaultdict(int)
    for (day, _, _), (confirmed, _, _) in expected.covid.items():
        world[day] += confirmed
    return {
        "covid": {key: (*values, _new_cases(expected, key)) for key, values in expected.covid.items()},
        "stale": expected.stale,
        "quarantine": set(expected.quarantine),
        "users": expected.users,
        "world": dict(world),
        "trends": len({(country, day) for day, country, _ in expected.covid}),
        "companies": dict(Counter(company for _, company in expected.users.values())),
    }


def _new_cases(expected: Expected, key: Key) -> int | None:
    before = expected.covid.get((key[0] - timedelta(days=1), *key[1:]))
    return expected.covid[key][0] - before[0] if before else None


def compare(left: dict[str, Any], right: dict[str, Any]) -> None:
    """Raise Failed naming what differs, with a few examples."""
    for name, value in left.items():
        other = right[name]
        if value == other:
            continue
        if isinstance(value, dict):
            keys = [key for key in {*value, *other} if value.get(key) != other.get(key)]
            examples = [(key, value.get(key), other.get(key)) for key in keys[:3]]
            raise Failed(f"{name}: {len(keys)} of {len(other)} differ, e.g. {str(examples)[:600]}")
        if isinstance(value, set):
            raise Failed(f"{name}: only shown {list(value - other)[:3]}, only expected {list(other - value)[:3]}")
        raise Failed(f"{name}: {value}, expected {other}")


def check_ledger(engine: Engine) -> dict[str, int]:
    """Hold the ledger's arithmetic; return how many objects were found how. Raises Failed."""
    states = engine.rows("SELECT status, count(*) FROM bronze.ingestion_metadata GROUP BY 1")
    if {status for status, _ in states} != {"done"}:
        raise Failed(f"objects by status: {states}")
    wrong = engine.rows(f"SELECT object_key FROM bronze.ingestion_metadata WHERE rows_read <> {' + '.join(COUNTS)}")
    if wrong:
        raise Failed(f"records do not add up in {wrong[:3]}")
    letters = engine.rows("SELECT reason FROM bronze.dead_letters")
    if letters:
        raise Failed(f"dead letters: {letters[:3]}")
    lost = engine.rows(
        "SELECT count(*) FROM silver.clean_covid c WHERE NOT EXISTS (SELECT FROM bronze.raw_covid r"
        " WHERE r._object_id = c._object_id AND r._line_number = c._line_number AND r._row_hash = c._row_hash)"
    )
    if lost != [(0,)]:
        raise Failed(f"{lost[0][0]} rows have no raw row")
    return dict(engine.rows("SELECT discovered_by, count(*) FROM bronze.ingestion_metadata GROUP BY 1"))
