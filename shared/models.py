"""Gold's models together: their order, what a change of a dataset touches, and the tables they need."""

import graphlib
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigurationError
from shared.modelfile import Kind, Model, line_of, read_model

_DATASET_TABLE = "silver.clean_"
_OBJECT: Mapping[Kind, str] = {
    "incremental": "TABLE",
    "materialized_view": "MATERIALIZED VIEW",
    "view": "VIEW",
}


@dataclass(frozen=True)
class Models:
    """All models in dependency order."""

    by_name: Mapping[str, Model]

    def __iter__(self) -> Iterator[Model]:
        return iter(self.by_name.values())

    def __getitem__(self, name: str) -> Model:
        if name not in self.by_name:
            raise ConfigurationError(
                f"no gold model is called {name!r}; sql/gold declares: {', '.join(sorted(self.by_name))}"
            )
        return self.by_name[name]

    @property
    def tables(self) -> list[Model]:
        """The incremental models."""
        return [m for m in self if m.kind == "incremental"]

    @property
    def materialized_views(self) -> list[Model]:
        """The materialized views."""
        return [m for m in self if m.kind == "materialized_view"]

    def upstream(self, name: str) -> set[str]:
        """Return the models that a model reads, directly or through others."""
        direct = {d.removeprefix("gold.") for d in self[name].depends_on if d.startswith("gold.")}
        return direct.union(*(self.upstream(parent) for parent in direct))

    def datasets_of(self, name: str) -> set[str]:
        """Return the datasets that a model rests on, directly or through other models."""
        reads = [d for m in {name} | self.upstream(name) for d in self[m].depends_on]
        return {d.removeprefix(_DATASET_TABLE) for d in reads if d.startswith(_DATASET_TABLE)}


def models_depending_on(models: Models, dataset: str) -> list[str]:
    """Return the models to refresh after a change of a dataset, in dependency order; views need none."""
    return [m.name for m in models if m.kind != "view" and dataset in models.datasets_of(m.name)]


def load_models(sql_dir: Path, datasets: Collection[str] | None = None) -> Models:
    """Read sql/gold/*.sql; with `datasets`, models must rest on those only.

    Raises ConfigurationError listing all problems of all files as `file:line: field: what and remedy`.
    """
    found = [read_model(path) for path in sorted((sql_dir / "gold").glob("*.sql"))]
    problems = [problem for one in found if isinstance(one, list) for problem in one]
    models = {one.name: one for one in found if isinstance(one, Model)}
    if not problems:
        problems = [p for model in models.values() for p in _missing_dependencies(model, models, datasets)]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return Models({name: models[name] for name in _dependency_order(models)})


def _missing_dependencies(model: Model, models: Mapping[str, Model], datasets: Collection[str] | None) -> list[str]:
    problems = []
    for name in model.depends_on:
        schema, _, table = name.partition(".")
        if schema == "gold" and table not in models:
            problems.append(f"{name} does not exist; write sql/gold/{table}.sql or name {', '.join(sorted(models))}")
        elif name.startswith(_DATASET_TABLE) and datasets is not None and name[len(_DATASET_TABLE) :] not in datasets:
            problems.append(f"{name} does not exist; the datasets are: {', '.join(sorted(datasets))}")
    return [f"{model.path}:{line_of(model.path, '-- depends on')}: depends on: {problem}" for problem in problems]


def _dependency_order(models: Mapping[str, Model]) -> list[str]:
    graph = {
        m.name: sorted(d.removeprefix("gold.") for d in m.depends_on if d.startswith("gold.")) for m in models.values()
    }
    try:
        return list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        cycle = " → ".join(reversed(error.args[1]))
        first = models[error.args[1][0]]
        raise ConfigurationError(
            f"{first.path}:{line_of(first.path, '-- depends on')}: depends on: {cycle} is a cycle; remove one"
        ) from error


def create_statements(model: Model) -> list[str]:
    """Return the statements that create the model's table or view where it does not exist, for `migrate`.

    Run them in dependency order. Views of both kinds follow their file: made anew when the SELECT changed.
    """
    description, digest = model.description.replace("'", "''"), _digest(model)
    if model.kind == "incremental":
        return [_create_table(model), f"COMMENT ON TABLE {model.table} IS '{description}'"]
    kind = _OBJECT[model.kind]
    create = "CREATE OR REPLACE VIEW" if model.kind == "view" else f"CREATE {kind} IF NOT EXISTS"
    statements = [
        f"""DO $$
BEGIN
    IF position('{digest}' IN obj_description(to_regclass('{model.table}'), 'pg_class')) = 0 THEN
        DROP {kind} {model.table};
    END IF;
END
$$""",
        f"{create} {model.table} AS\n{model.select_sql}",
        f"COMMENT ON {kind} {model.table} IS '{description} [SELECT {digest}]'",
    ]
    if model.kind == "materialized_view":  # CONCURRENTLY tells rows apart by it
        statements.append(
            f"CREATE UNIQUE INDEX IF NOT EXISTS {model.name}_grain ON {model.table} ({_comma(model.grain)})"
        )
    return statements


def _digest(model: Model) -> str:
    return hashlib.sha256(model.select_sql.encode()).hexdigest()[:12]


def _create_table(model: Model) -> str:
    columns = [
        f"{c.name} {c.type}{_collation(c.type)}{' NOT NULL' if c.name in model.grain else ''}" for c in model.columns
    ]
    columns += ["_refreshed_at timestamptz NOT NULL DEFAULT now()", f"PRIMARY KEY ({_comma(model.grain)})"]
    return f"CREATE TABLE IF NOT EXISTS {model.table} (\n    {_lines(columns)}\n)"


def _collation(column_type: str) -> str:
    return ' COLLATE "C"' if column_type == "text" else ""


def _comma(parts: Sequence[str]) -> str:
    return ", ".join(parts)


def _lines(parts: Sequence[str]) -> str:
    return ",\n    ".join(parts)
