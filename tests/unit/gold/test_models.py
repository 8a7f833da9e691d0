"""The files under sql/gold: format, order, what a change touches, and how mistakes are reported."""

from pathlib import Path

import pytest

from shared.catalog import load_catalog
from shared.errors import ConfigurationError
from shared.modelfile import Model, read_model, sql_problems
from shared.models import Models, create_statements, load_models, models_depending_on
from shared.settings import data_file_root

GOOD = """\
-- name: {name}
-- description: Cases by country.
-- kind: incremental
-- grain: country
-- depends on: {depends}
-- scope by: country
-- columns:
--   country text: the country
--   cases bigint: its cases

-- @scope
SELECT DISTINCT country FROM changes_covid;

-- @select
SELECT country, sum(confirmed)::bigint AS cases
FROM scope
JOIN silver.clean_covid USING (country)
GROUP BY country;

-- @audit not_negative: fewer than no cases
SELECT country FROM gold.{name} WHERE cases < 0;
"""


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models(data_file_root("sql"), load_catalog(data_file_root("config") / "datasets").datasets)


def write(folder: Path, name: str, *, depends: str = "silver.clean_covid", old: str = "", new: str = "") -> Path:
    (folder / "gold").mkdir(exist_ok=True)
    path = folder / "gold" / f"{name}.sql"
    text = GOOD.format(name=name, depends=depends)
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def read(path: Path) -> Model:
    model = read_model(path)
    assert isinstance(model, Model), model
    return model


def test_a_file_becomes_a_model(tmp_path: Path) -> None:
    model = read(write(tmp_path, "cases"))
    assert (model.name, model.kind, model.grain, model.scope_by) == (
        "cases",
        "incremental",
        ("country",),
        ("country",),
    )
    assert [(c.name, c.type, c.description) for c in model.columns] == [
        ("country", "text", "the country"),
        ("cases", "bigint", "its cases"),
    ]
    assert model.scope_sql == "SELECT DISTINCT country FROM changes_covid"
    assert model.select_sql.startswith("SELECT country, sum(confirmed)")
    assert [(a.name, a.description) for a in model.audits] == [("not_negative", "fewer than no cases")]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("-- grain: country\n", "", ":1: grain: is missing; add a line `-- grain: …`"),
        ("-- grain: country", "-- grain: nation", ":4: grain: 'nation' is not among: country, cases"),
        (
            "-- kind: incremental",
            "-- kind: table",
            ":3: kind: 'table' is none of: incremental, materialized_view, view",
        ),
        ("-- scope by:", "-- scoped by:", ":6: scoped by: no such field; there are: name, description, kind"),
        ("-- name: cases", "-- name: case", ":1: name: 'case' must be the file's name, 'cases'"),
        (
            "cases bigint:",
            "cases int:",
            ":7: columns: 'cases int: its cases' is not `name type: description`",
        ),
        ("-- @scope\n", "-- @scop\n", ":11: @scop: no such section"),
        ("GROUP BY country;", "GROUP BY country", ":14: @select: the statement must end with a semicolon"),
        ("-- @audit not_negative: f", "-- @audit f", ":20: @audit: write `-- @audit name: what is wrong"),
    ],
)
def test_a_mistake_is_reported_with_its_line_and_field(tmp_path: Path, old: str, new: str, problem: str) -> None:
    path = write(tmp_path, "cases", old=old, new=new)
    with pytest.raises(ConfigurationError) as raised:
        load_models(tmp_path)
    assert f"{path}{problem}" in str(raised.value)


def test_a_dependency_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path, "cases", depends="silver.clean_weather, gold.other")
    with pytest.raises(ConfigurationError) as raised:
        load_models(tmp_path, {"covid"})
    assert str(raised.value).splitlines() == [
        f"{path}:5: depends on: silver.clean_weather does not exist; the datasets are: covid",
        f"{path}:5: depends on: gold.other does not exist; write sql/gold/other.sql or name cases",
    ]


def test_a_cycle_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "a", depends="gold.b")
    write(tmp_path, "b", depends="gold.a")
    with pytest.raises(ConfigurationError, match=r"\.sql:5: depends on: .* is a cycle; remove one"):
        load_models(tmp_path)


def test_sql_that_does_not_parse_or_reads_more_than_it_says_is_reported(tmp_path: Path) -> None:
    assert sql_problems(read(write(tmp_path, "cases"))) == []
    broken = write(tmp_path, "cases", old="GROUP BY country;", new="GROUP country BY;")
    assert "@select: not PostgreSQL" in sql_problems(read(broken))[0]
    secret = write(tmp_path, "cases", old="JOIN silver.clean_covid", new="JOIN silver.clean_users")
    assert sql_problems(read(secret)) == [f"{secret}:14: @select: reads silver.clean_users; add it to `depends on`"]


def test_models_come_in_dependency_order(models: Models) -> None:
    order = list(models.by_name)
    for model in models:
        for parent in models.upstream(model.name):
            assert order.index(parent) < order.index(model.name)


def test_a_change_touches_tables_and_materialized_views_that_rest_on_the_dataset(models: Models) -> None:
    assert models_depending_on(models, "users") == ["mv_user_company_analysis", "user_analytics_summary"]
    assert models_depending_on(models, "posts") == ["user_analytics_summary", "user_engagement_metrics"]
    assert set(models_depending_on(models, "covid")) == {
        "covid_country_trends",
        "covid_global_summary",
        "daily_aggregates",
        "weekly_aggregates",
        "monthly_kpis",
        "mv_daily_covid_summary",
    }
    assert models_depending_on(models, "weather") == []


def test_every_model_is_valid_postgresql_and_names_what_it_reads(models: Models) -> None:
    assert [problem for model in models for problem in sql_problems(model)] == []


def test_tables_are_created_with_bytewise_text_and_their_grain_as_key(tmp_path: Path) -> None:
    table, comment = create_statements(read(write(tmp_path, "cases")))
    assert table == (
        "CREATE TABLE IF NOT EXISTS gold.cases (\n"
        '    country text COLLATE "C" NOT NULL,\n'
        "    cases bigint,\n"
        "    _refreshed_at timestamptz NOT NULL DEFAULT now(),\n"
        "    PRIMARY KEY (country)\n"
        ")"
    )
    assert comment == "COMMENT ON TABLE gold.cases IS 'Cases by country.'"
