"""The lineage graph: sources → datasets → models, as Mermaid and as a drawing in layers."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.catalog import Catalog
from shared.dataset import Dataset
from shared.modelfile import Model
from shared.models import Models

Kind = Literal["source", "drops", "dataset", "incremental", "materialized_view", "view", "platform"]
WORDS: Mapping[str, str] = {
    "source": "source", "drops": "drops", "dataset": "silver", "incremental": "gold table",
    "materialized_view": "materialized view", "view": "view", "platform": "platform table",
}  # fmt: skip
_BOX_WIDTH, _BOX_HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 228, 44, 48, 14, 8
_CHARACTERS_MAX = 30  # of a box's label at its font size
_SHRUNK_MIN = 0.72  # share of its size down to which a wide drawing shrinks; beyond that it scrolls
_SWEEPS = 8  # of the ordering that untangles edges: more changes nothing on graphs of this size


@dataclass(frozen=True)
class Node:
    """A box: what it is called and what it leads to."""

    name: str  # unique: the qualified table, or source of a dataset
    label: str
    kind: Kind
    slug: str = ""  # its page, if it has one


@dataclass(frozen=True)
class Graph:
    """Boxes and the arrows between them, from what is read to what reads it."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]
    references: tuple[tuple[str, str], ...] = ()  # from the dataset that refers to the one referred to


def lineage_graph(catalog: Catalog, models: Models) -> Graph:
    """Return the graph of all datasets and models."""
    nodes, edges = [], []
    for dataset in catalog.datasets.values():
        origin = f"source of {dataset.name}"
        nodes.append(Node(origin, _origin(dataset), "source" if dataset.source else "drops"))
        nodes.append(Node(dataset.clean_table, dataset.clean_table, "dataset", f"datasets/{dataset.name}"))
        edges.append((origin, dataset.clean_table))
    known = {node.name for node in nodes}
    for model in models:
        for table in tables_read(model, catalog):
            if not table.startswith("gold.") and table not in known:
                nodes.append(Node(table, table, "platform"))
                known.add(table)
            edges.append((table, model.table))
        nodes.append(Node(model.table, model.table, model.kind, f"models/{model.name}"))
    references = [
        (dataset.clean_table, catalog[rule.references.parent].clean_table)
        for dataset in catalog.datasets.values()
        for rule in dataset.references
        if rule.references
    ]
    return Graph(tuple(nodes), tuple(edges), tuple(dict.fromkeys(references)))


def tables_read(model: Model, catalog: Catalog) -> list[str]:
    """Return the tables that a model names, `silver.*` as the clean tables of all datasets."""
    every = [dataset.clean_table for dataset in catalog.datasets.values()]
    return [table for named in model.depends_on for table in (every if named == "silver.*" else [named])]


def _origin(dataset: Dataset) -> str:
    if dataset.source is None:
        return f"files in {dataset.name}/"
    return dataset.source.url.rstrip("/").rpartition("/")[2] or dataset.source.url


def around(graph: Graph, name: str) -> Graph:
    """Return the part of a graph that leads to a node or comes from it."""
    wanted = _reach(graph.edges, name) | _reach([(after, before) for before, after in graph.edges], name)
    return Graph(
        tuple(node for node in graph.nodes if node.name in wanted),
        tuple(edge for edge in graph.edges if {*edge} <= wanted),
        tuple(edge for edge in graph.references if {*edge} <= wanted),
    )


def _reach(edges: Sequence[tuple[str, str]], start: str) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        further = {after for before, after in edges if before == here} - found
        found |= further
        waiting += further
    return found


def mermaid(graph: Graph) -> str:
    """Return the graph as Mermaid's flowchart."""
    number = {node.name: f"n{index}" for index, node in enumerate(graph.nodes)}
    shapes = {"source": ("([", "])"), "drops": ("([", "])"), "view": ("[/", "/]"), "materialized_view": ("[[", "]]")}
    lines = ["flowchart LR"]
    for node in graph.nodes:
        opening, closing = shapes.get(node.kind, ("[", "]"))
        lines.append(f'    {number[node.name]}{opening}"{_mermaid_text(node.label)}"{closing}')
    lines += [f"    {number[before]} --> {number[after]}" for before, after in graph.edges]
    lines += [f"    {number[child]} -. refers to .-> {number[parent]}" for child, parent in graph.references]
    return "\n".join(lines)


def _mermaid_text(text: str) -> str:
    """Return a label in which nothing is markup: Mermaid knows entities by #name; and keeps quotes for itself."""
    marks = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;"}
    return " ".join("".join(marks.get(character, character) for character in text).split())


def svg(graph: Graph) -> str:
    """Return the graph as an inline SVG: layers from left to right, boxes that lead to pages, curves between."""
    layers = _layers(graph)
    places: dict[str, tuple[float, float]] = {}
    tallest = max((len(layer) for layer in layers), default=0)
    for column, layer in enumerate(layers):
        offset = (tallest - len(layer)) * (_BOX_HEIGHT + _GAP_Y) / 2
        for row, name in enumerate(layer):
            left = _MARGIN + column * (_BOX_WIDTH + _GAP_X)
            places[name] = (left, _MARGIN + offset + row * (_BOX_HEIGHT + _GAP_Y))
    width = 2 * _MARGIN + len(layers) * (_BOX_WIDTH + _GAP_X) - _GAP_X
    height = 2 * _MARGIN + tallest * (_BOX_HEIGHT + _GAP_Y) - _GAP_Y
    nodes = {node.name: node for node in graph.nodes}
    drawn = [_curve(places[before], places[after]) for before, after in graph.edges]
    drawn += [_bow(places[child], places[parent]) for child, parent in graph.references]
    drawn += [_box(nodes[name], place) for name, place in places.items()]
    return (
        f'<svg class="graph" role="img" aria-label="Lineage" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" style="min-width:{width * _SHRUNK_MIN:g}px" xmlns="http://www.w3.org/2000/svg">\n'
        + "\n".join(drawn)
        + "\n</svg>"
    )


def _layers(graph: Graph) -> list[list[str]]:
    """Return the nodes by their longest way from a source, within a layer near what they are joined to."""
    depth: dict[str, int] = {}
    before: dict[str, list[str]] = {node.name: [] for node in graph.nodes}
    after: dict[str, list[str]] = {node.name: [] for node in graph.nodes}
    for first, second in graph.edges:
        before[second].append(first)
        after[first].append(second)

    def depth_of(name: str) -> int:
        if name not in depth:
            depth[name] = max((depth_of(one) + 1 for one in before[name]), default=0)
        return depth[name]

    deepest = max((depth_of(node.name) for node in graph.nodes), default=-1)
    for node in graph.nodes:  # a table of the platform stands beside the datasets, not among the sources
        if node.kind == "platform" and after[node.name]:
            depth[node.name] = max(0, min(depth[name] for name in after[node.name]) - 1)
    layers = [[node.name for node in graph.nodes if depth[node.name] == level] for level in range(deepest + 1)]
    for sweep in range(_SWEEPS):
        rank = {name: row / max(len(layer), 1) for layer in layers for row, name in enumerate(layer)}
        joined = before if sweep % 2 == 0 else after
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            layer.sort(key=lambda name: _middle([rank[other] for other in joined[name]], rank[name]))
            rank |= {name: row / max(len(layer), 1) for row, name in enumerate(layer)}
    return layers


def _middle(ranks: Sequence[float], own: float) -> float:
    return sum(ranks) / len(ranks) if ranks else own


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1 = start[0] + _BOX_WIDTH, start[1] + _BOX_HEIGHT / 2
    x2, y2 = end[0], end[1] + _BOX_HEIGHT / 2
    bend = (x2 - x1) / 2
    return f'<path class="edge" d="M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"/>'


def _bow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return the dashed bow from a dataset to the one it refers to, on the left of their layer."""
    y1, y2 = start[1] + _BOX_HEIGHT / 2 + 8, end[1] + _BOX_HEIGHT / 2 + 8
    x = min(start[0], end[0])
    return f'<path class="edge reference" d="M{x:g} {y1:g}C{x - 34:g} {y1:g} {x - 34:g} {y2:g} {x:g} {y2:g}"/>'


def _box(node: Node, place: tuple[float, float]) -> str:
    x, y = place
    label = node.label if len(node.label) <= _CHARACTERS_MAX else node.label[: _CHARACTERS_MAX - 1] + "…"
    box = (
        f'<g class="node {node.kind}"><title>{html.escape(node.label)}</title>'
        f'<rect x="{x:g}" y="{y:g}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="7"/>'
        f'<text class="kind" x="{x + 12:g}" y="{y + 16:g}">{WORDS[node.kind]}</text>'
        f'<text x="{x + 12:g}" y="{y + 33:g}">{html.escape(label)}</text></g>'
    )
    return f'<a href="#{html.escape(node.slug)}">{box}</a>' if node.slug else box
