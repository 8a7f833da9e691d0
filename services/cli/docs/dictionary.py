"""All pages of the data dictionary, from the contracts and the models."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from services.cli.docs.datasets import dataset_page
from services.cli.docs.document import Drawing, Page
from services.cli.docs.graph import Graph, around, lineage_graph, mermaid, svg, tables_read
from services.cli.docs.lineage import column_sources, known_columns
from services.cli.docs.models import model_page, overview
from shared.catalog import Catalog
from shared.models import Models

Sources = Mapping[str, Mapping[str, Sequence[str]]]


def pages(catalog: Catalog, models: Models) -> list[Page]:
    """Return the first page, the datasets' and the models'."""
    graph = lineage_graph(catalog, models)
    known = known_columns(catalog, models)
    sources = {model.name: column_sources(model, known) for model in models}
    readers = _readers(sources)
    made = [overview(catalog, models, _drawing(graph))]
    for dataset in catalog.datasets.values():
        referred_by = [
            other.name
            for other in catalog.datasets.values()
            if any(rule.references and rule.references.parent == dataset.name for rule in other.references)
        ]
        drawing = _drawing(around(graph, dataset.clean_table))
        direct = _readers_of(catalog, models, dataset.clean_table)
        made.append(dataset_page(dataset, direct, referred_by, readers[dataset.clean_table], drawing))
    for model in models:
        drawing = _drawing(around(graph, model.table))
        made.append(model_page(model, _readers_of(catalog, models, model.table), sources[model.name], drawing))
    return made


def _drawing(graph: Graph) -> Drawing:
    return Drawing(mermaid(graph), svg(graph))


def _readers_of(catalog: Catalog, models: Models, table: str) -> list[str]:
    return [model.name for model in models if table in tables_read(model, catalog)]


def _readers(sources: Sources) -> dict[str, dict[str, list[tuple[str, str]]]]:
    """Turn the columns' sources round: by table and column, the models' columns that are computed from it."""
    readers: dict[str, dict[str, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for model, columns in sources.items():
        for column, origins in columns.items():
            for origin in origins:
                table, _, name = origin.rpartition(".")
                readers[table][name].append((model, column))
    return readers
