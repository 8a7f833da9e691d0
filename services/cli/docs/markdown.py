"""Pages as Markdown that GitHub renders: one file a page, tables, Mermaid in fences."""

import os
import re
from pathlib import PurePosixPath

from services.cli.docs.document import Block, Code, Drawing, Heading, Link, Listing, Page, Paragraph, Span, Table, Text

_SPECIAL = re.compile(r"([\\`*\[\]|~$]|(?<!\w)_|_(?!\w))")  # an underscore within a name is no emphasis
_LEADING = re.compile(r"^(\s*\d*)([#>+.)=-])")  # what makes a line a heading, a list or a quotation


def markdown(page: Page) -> str:
    """Return a page as Markdown."""
    title = f"{page.kind.capitalize()} {page.title}" if page.kind else page.title
    parts = [f"# {_escaped(title)}", *(_block(block, page.slug) for block in page.blocks)]
    if page.slug != "index":
        parts.insert(1, f"[Data dictionary]({_path('index', page.slug)})")
    return "\n\n".join(parts) + "\n"


def _block(block: Block, slug: str) -> str:
    match block:
        case Heading(text):
            return f"## {_escaped(text)}"
        case Paragraph(text):
            return _text(text, slug)
        case Table():
            return _table(block, slug)
        case Listing(title, language, text):
            return f"{_escaped(title)}:\n\n{_fence(text, language)}"
        case Drawing(mermaid, _):
            return _fence(mermaid, "mermaid")


def _table(table: Table, slug: str) -> str:
    lines = [f"| {' | '.join(_escaped(name) for name in table.head)} |", f"|{'---|' * len(table.head)}"]
    for index, row in enumerate(table.rows):
        cells = [_text(cell, slug, in_table=True) for cell in row]
        if table.anchors:
            cells[0] = f'<a id="{table.anchors[index]}"></a>{cells[0]}'
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _text(text: Text, slug: str, *, in_table: bool = False) -> str:
    return "".join(_span(span, slug, in_table=in_table) for span in text)


def _span(span: Span, slug: str, *, in_table: bool) -> str:
    if isinstance(span, Code):
        return _code(span.text, in_table=in_table)
    if isinstance(span, Link):
        anchor = f"#{span.anchor}" if span.anchor else ""
        return f"[{_escaped(span.text)}]({_path(span.page, slug)}{anchor})"
    return _escaped(span)


def _code(text: str, *, in_table: bool) -> str:
    """Return a code span: its fence is longer than any run of backticks within, its spaces are one."""
    text = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    padding = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{fence}{padding}{text.replace('|', chr(92) + '|') if in_table else text}{padding}{fence}"


def _escaped(text: str) -> str:
    """Return running text in which nothing is markup, HTML included."""
    line = text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return _LEADING.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", line))


def _fence(text: str, language: str) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _path(page: str, slug: str) -> str:
    return os.path.relpath(f"{page}.md", str(PurePosixPath(slug).parent))
