"""Pages as plain data, which become Markdown or HTML: blocks of text whose parts are words, code and links."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Code:
    """A name or value, as it stands in a file."""

    text: str


@dataclass(frozen=True)
class Link:
    """A way to another page, or to a place on it."""

    text: str
    page: str  # a page's slug
    anchor: str = ""


Span: TypeAlias = str | Code | Link
Text: TypeAlias = tuple[Span, ...]


@dataclass(frozen=True)
class Heading:
    """The title of what follows, within a page."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: Text


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head; an anchor of a row leads to it."""

    head: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    anchors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """A text of a language, behind its title."""

    title: str
    language: str
    text: str


@dataclass(frozen=True)
class Drawing:
    """A graph: as Mermaid for what draws it, and as SVG for what does not."""

    mermaid: str
    svg: str


Block: TypeAlias = Heading | Paragraph | Table | Listing | Drawing


@dataclass(frozen=True)
class Page:
    """One page: a dataset, a model, or the way in."""

    slug: str  # its file without the ending: datasets/covid
    kind: str  # what stands before the title: dataset, gold model
    title: str
    blocks: tuple[Block, ...]


def plain(text: str) -> Text:
    """Return running text whose `code` between backticks becomes code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return (text,)
    return tuple(Code(part) if index % 2 else part for index, part in enumerate(parts) if part)


def codes(names: Iterable[str]) -> Text:
    """Return names as code, commas between."""
    return separated((Code(name),) for name in names)


def separated(texts: Iterable[Text], comma: str = ", ") -> Text:
    """Return several texts as one, with a comma between."""
    joined: list[Span] = []
    for text in texts:
        joined += [comma, *text] if joined else text
    return tuple(joined)
