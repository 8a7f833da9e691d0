"""Pages as one HTML file that needs no network: style, search and drawings are in it, and all text is escaped."""

import html
from collections.abc import Sequence
from pathlib import Path

from services.cli.docs.document import Block, Code, Drawing, Heading, Link, Listing, Page, Paragraph, Span, Table, Text

_HERE = Path(__file__).parent
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"  # nothing is fetched
_GROUPS = (("datasets/", "Datasets"), ("models/", "Gold models"))


def html_page(pages: Sequence[Page], remark: str = "") -> str:
    """Return all pages as one HTML document; `remark` stands at its foot."""
    first, *rest = pages
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{html.escape(first.title)} · medallion</title>
<style>
{style}</style>
</head>
<body>
<nav>
<a class="home" href="#index">{html.escape(first.title)}</a>
<input id="search" type="search" placeholder="Search names and text" aria-label="Search names and text">
<p id="found" role="status"></p>
{_menu(rest)}
</nav>
<main>
{chr(10).join(_section(page) for page in pages)}
<footer>{html.escape(remark)}</footer>
</main>
<script>
{script}</script>
</body>
</html>
"""


def _menu(pages: Sequence[Page]) -> str:
    lines = []
    for prefix, title in _GROUPS:
        entries = [page for page in pages if page.slug.startswith(prefix)]
        links = "".join(f'<li><a href="#{_id(page.slug)}">{html.escape(page.title)}</a></li>' for page in entries)
        lines.append(f"<h2>{title}</h2><ul>{links}</ul>")
    return "\n".join(lines)


def _id(page: str, anchor: str = "") -> str:
    return html.escape(f"{page}.{anchor}" if anchor else page)


def _section(page: Page) -> str:
    kind = f'<span class="kind">{html.escape(page.kind)}</span> ' if page.kind else ""
    body = "\n".join(_block(block, page.slug) for block in page.blocks)
    return f'<section id="{_id(page.slug)}">\n<h1>{kind}{html.escape(page.title)}</h1>\n{body}\n</section>'


def _block(block: Block, slug: str) -> str:
    match block:
        case Heading(text):
            return f"<h2>{html.escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{_text(text)}</p>"
        case Table():
            return _table(block, slug)
        case Listing(title, language, text):
            code = f'<pre><code class="language-{html.escape(language)}">{html.escape(text)}</code></pre>'
            return f"<details><summary>{html.escape(title)}</summary>{code}</details>"
        case Drawing(mermaid, svg):
            text = f'<pre class="mermaid-text"><code>{html.escape(mermaid)}</code></pre>'
            return (
                f'<div class="wide">{svg}</div>\n<details><summary>The same as Mermaid text</summary>{text}</details>'
            )


def _table(table: Table, slug: str) -> str:
    is_facts = not any(table.head)
    rows = []
    for index, row in enumerate(table.rows):
        place = f' id="{_id(slug, table.anchors[index])}"' if table.anchors else ""
        cells = [
            f'<{"th scope=row" if is_facts and not at else "td"} data-name="{html.escape(name)}">{_text(cell)}'
            f"</{'th' if is_facts and not at else 'td'}>"
            for at, (name, cell) in enumerate(zip(table.head, row, strict=True))
        ]
        rows.append(f"<tr{place}>{''.join(cells)}</tr>")
    if is_facts:
        return f'<div class="wide"><table class="facts"><tbody>{"".join(rows)}</tbody></table></div>'
    head = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in table.head)
    body = "\n".join(rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _text(text: Text) -> str:
    return "".join(map(_span, text))


def _span(span: Span) -> str:
    if isinstance(span, Code):
        return f"<code>{html.escape(span.text)}</code>"
    if isinstance(span, Link):
        return f'<a href="#{_id(span.page, span.anchor)}">{html.escape(span.text)}</a>'
    return html.escape(span)
