"""A gold model's page, and the way in: what there is and how it hangs together."""

from collections.abc import Iterator, Mapping, Sequence

from services.cli.docs.document import (
    Block,
    Code,
    Drawing,
    Heading,
    Link,
    Listing,
    Page,
    Paragraph,
    Span,
    Table,
    Text,
    codes,
    plain,
    separated,
)  # fmt: skip
from shared.catalog import Catalog
from shared.modelfile import Model
from shared.models import Models

KINDS: Mapping[str, str] = {
    "incremental": "a table; a change recomputes the groups that it touches",
    "materialized_view": "a materialized view, refreshed after changes",
    "view": "a view, computed when it is read",
}


def table_link(table: str) -> Span:
    """Return the way to a table's page, if it has one."""
    if table.startswith("gold."):
        return Link(table, f"models/{table.removeprefix('gold.')}")
    if table.startswith("silver.clean_"):
        return Link(table, f"datasets/{table.removeprefix('silver.clean_')}")
    return Code(table)


def model_page(model: Model, read_by: Sequence[str], sources: Mapping[str, Sequence[str]], drawing: Drawing) -> Page:
    """Return a model's page; `sources` are the columns that its columns are computed from."""
    blocks: list[Block] = [
        Paragraph(plain(model.description)),
        Table(("", ""), tuple(((name,), text) for name, text in _facts(model, read_by))),
        Heading("Columns"),
        Table(
            ("column", "type", "what it is", "computed from"),
            tuple(
                ((Code(c.name),), (c.type,), plain(c.description), _sources(sources.get(c.name, ())))
                for c in model.columns
            ),
            anchors=tuple(column.name for column in model.columns),
        ),
    ]
    if model.audits:
        rows = tuple(((Code(audit.name),), plain(audit.description)) for audit in model.audits)
        blocks += [Heading("Audits"), Table(("audit", "fails when there are"), rows)]
    blocks += [Heading("SQL"), Listing("What its rows are", "sql", model.select_sql)]
    if model.scope_sql:
        blocks.append(Listing("Which groups a change touches", "sql", model.scope_sql))
    blocks += [Listing(f"Audit {audit.name}", "sql", audit.sql) for audit in model.audits]
    return Page(f"models/{model.name}", "gold model", model.name, (*blocks, Heading("Lineage"), drawing))


def _facts(model: Model, read_by: Sequence[str]) -> Iterator[tuple[str, Text]]:
    yield "table", (Code(model.table),)
    yield "kind", (KINDS[model.kind],)
    yield "one row for each", codes(model.grain)
    yield "reads", separated((table_link(table),) for table in model.depends_on)
    if read_by:
        yield "read by", separated((Link(name, f"models/{name}"),) for name in read_by)
    if model.scope_by:
        yield "a change recomputes", (*codes(model.scope_by), " and all that its scope below reaches")
    if model.context:
        yield "read but not written", ("groups whose ", Code(model.context), " is true")
    if model.keeps_history:
        yield "history", ("kept: earlier rows cannot be computed again",)
    if model.made_of:
        yield (
            "a row is made of",
            separated(((table_link(part.table), " where ", Code(part.condition)) for part in model.made_of), "; "),
        )


def _sources(columns: Sequence[str]) -> Text:
    def link(column: str) -> Text:
        table, _, name = column.rpartition(".")
        target = table_link(table)
        return (Link(column, target.page, name) if isinstance(target, Link) else Code(column),)

    return separated(map(link, columns))


def overview(catalog: Catalog, models: Models, drawing: Drawing) -> Page:
    """Return the first page."""
    datasets = tuple(
        (
            (Link(one.name, f"datasets/{one.name}"),), plain(one.description), codes(one.primary_key),
            (str(len(one.columns) + len(one.derived) + (len(one.windowed.columns) if one.windowed else 0)),),
            (str(len(one.rules)),),
        )
        for one in catalog.datasets.values()
    )  # fmt: skip
    gold = tuple(
        ((Link(model.name, f"models/{model.name}"),), plain(model.description), codes(model.grain),
         (model.kind.replace("_", " "),))
        for model in models
    )  # fmt: skip
    return Page(
        "index",
        "",
        "Data dictionary",
        (
            Paragraph(
                (
                    f"{len(datasets)} datasets in silver and {len(gold)} models in gold, as config/ and sql/ declare them.",
                )
            ),
            Heading("Lineage"),
            Paragraph(("From what is fetched or dropped to what people read; dashed: rows that refer to rows.",)),
            drawing,
            Heading("Datasets"),
            Table(("dataset", "what it is", "key", "columns", "rules"), datasets),
            Heading("Gold models"),
            Table(("model", "what it is", "one row for each", "kind"), gold),
        ),
    )
