"""Whole tables compared inside PostgreSQL: what "same end state" means in DESIGN.md, kept aside and held against."""

from typing import Any

from services.gold.refresh import refresh_tables
from services.gold.transaction import Refreshed
from services.gold.views import refresh_view, waiting
from shared.ddl import business_columns
from shared.ports import Row
from tests.integration.published import Table
from tests.pipeline import Pipeline


def refresh_gold(pipeline: Pipeline) -> list[Refreshed]:
    """Take everything pending into gold's tables and materialized views; return what was done."""
    done = refresh_tables(pipeline.session, pipeline.models, pipeline.catalog)
    for view in waiting(pipeline.session, pipeline.models, 0):
        refreshed = refresh_view(pipeline.session, pipeline.models, view.model)
        done += [refreshed] if refreshed else []
    return done


def contents(pipeline: Pipeline, table: str, key: int, columns: str) -> Table:
    """Return a table by its first `key` columns."""
    rows = pipeline.rows(f"SELECT {columns} FROM {table}")
    return {row[0] if key == 1 else row[:key]: row[key:] for row in rows}


def silver(pipeline: Pipeline, dataset: str) -> Table:
    """Return a clean table by its key: business columns and `_stale`."""
    contract = pipeline.catalog[dataset]
    names = [name for name, _ in business_columns(contract) if name not in contract.primary_key]
    return contents(
        pipeline, contract.clean_table, len(contract.primary_key), ", ".join((*contract.primary_key, *names, "_stale"))
    )


def gold(pipeline: Pipeline, model: str) -> Table:
    """Return a gold table by its grain, without `_refreshed_at`."""
    declared = pipeline.models[model]
    return contents(pipeline, declared.table, len(declared.grain), ", ".join(c.name for c in declared.columns))


class Expected:
    """The compared tables of a dataset as they are now, kept in a schema of their own."""

    def __init__(self, pipeline: Pipeline, dataset: str) -> None:
        self._pipeline = pipeline
        contract = pipeline.catalog[dataset]
        self._queries = {contract.name: ", ".join([*(n for n, _ in business_columns(contract)), "_stale"])}
        self._tables = {contract.name: contract.clean_table}
        for model in (*pipeline.models.tables, *pipeline.models.materialized_views):
            if dataset in pipeline.models.datasets_of(model.name):
                self._queries[model.name] = ", ".join(column.name for column in model.columns)
                self._tables[model.name] = model.table
        pipeline.session.execute("CREATE SCHEMA expected")
        for name, columns in self._queries.items():
            pipeline.session.execute(f"CREATE TABLE expected.{name} AS SELECT {columns} FROM {self._tables[name]}")
        pipeline.session.commit()
        self._digests = {name: self._digest(f"expected.{name}", name) for name in self._queries}

    def _digest(self, table: str, name: str) -> Row:
        return self._pipeline.rows(
            "SELECT count(*), sum(hashtextextended(t::text, 0)), sum(hashtextextended(t::text, 1))"
            f" FROM (SELECT {self._queries[name]} FROM {table}) t"
        )[0]

    def assert_equal(self, situation: object) -> None:
        """Hold every table against what was kept, row by row where its digest differs; nothing may be in quarantine."""
        for name, table in self._tables.items():
            if self._digest(table, name) != self._digests[name]:
                found, kept = f"SELECT {self._queries[name]} FROM {table}", f"TABLE expected.{name}"
                extra = self._pipeline.rows(f"{found} EXCEPT ALL {kept} LIMIT 5")
                missing = self._pipeline.rows(f"{kept} EXCEPT ALL {found} LIMIT 5")
                assert (extra, missing) == ([], []), f"{table} differs after {situation}"
        assert self._pipeline.rows("SELECT count(*) FROM silver.quarantine WHERE status = 'open'") == [(0,)], situation


def forget_everything(pipeline: Pipeline) -> None:
    """Empty bronze, silver and gold; what was landed stays in the bucket."""
    pipeline.reset()
    tables = ", ".join(model.table for model in pipeline.models.tables)
    pipeline.session.execute(f"TRUNCATE gold.refreshes, {tables}")
    pipeline.session.commit()


def ledger(pipeline: Pipeline, *columns: str) -> list[Any]:
    """Return columns of the ledger in version order."""
    return pipeline.rows(f"SELECT {', '.join(columns)} FROM bronze.ingestion_metadata ORDER BY version")
