"""Key values on the command line, and rules evaluated on a clean row."""

from datetime import date
from pathlib import Path

import pytest

from services.cli.lineage import _key_condition, rule_results
from shared.catalog import load_catalog
from shared.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[3]
TYPES = {"record_date": "date", "country": "text", "province": "text"}
COVID = load_catalog(ROOT / "config" / "datasets")["covid"]


def test_key_values_come_in_order_or_by_name_and_some_may_be_left_out():
    in_order = _key_condition("covid", TYPES, ["2022-04-16", "US"])
    by_name = _key_condition("covid", TYPES, ["country=US", "record_date=2022-04-16"])
    assert in_order == (
        "record_date = %(key_record_date)s::date AND country = %(key_country)s::text",
        {"key_record_date": "2022-04-16", "key_country": "US"},
    )
    assert by_name[1] == in_order[1]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["16.4.2022"], "covid: '16.4.2022' is no date, which the key column record_date is"),
        (["2022-04-16", "US", "", "more"], "covid has 3 key columns"),
    ],
)
def test_wrong_key_values_are_said_before_the_database_sees_them(keys: list[str], message: str):
    with pytest.raises(ConfigurationError, match=message):
        _key_condition("covid", TYPES, keys)


def test_a_rows_broken_rules_are_found_again():
    row = {
        "record_date": date(2022, 4, 16), "country": "US", "province": "", "confirmed": 80_625_120, "deaths": 90_000_000,
        "recovered": None, "active_cases": None, "mortality_rate": None, "recovery_rate": None,
    }  # fmt: skip
    broken = [one["rule"] for one in rule_results(COVID, row) if not one["held"]]
    assert broken == ["deaths_within_confirmed", "plausible_size"]
