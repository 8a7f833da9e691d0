"""The data dictionary: what it says, that its links lead somewhere, and that nothing in it runs."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from services.cli.docs.command import documents
from services.cli.docs.dictionary import pages
from services.cli.docs.document import Page
from services.cli.docs.graph import Graph, Node, around, lineage_graph, mermaid, svg
from services.cli.docs.markdown import markdown
from services.cli.docs.page import html_page
from shared.catalog import Catalog, load_catalog
from shared.models import Models, load_models
from shared.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
HOSTILE = "<script>alert(1)</script> \"'&| [x](y) `code` -->"
VOID = {"meta", "input", "br"}


@pytest.fixture(scope="module")
def shipped() -> tuple[Catalog, Models, list[Page]]:
    """What the project ships, and its pages."""
    catalog = load_catalog(ROOT / "config" / "datasets")
    models = load_models(ROOT / "sql")
    return catalog, models, pages(catalog, models)


class Html(HTMLParser):
    """What a browser finds in a page: elements, ids, links, and whether everything is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        self.fetched += [given["src"]] if "src" in given else []
        assert not [name for name in given if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(shipped: tuple[Catalog, Models, list[Page]]):
    found = Html(html_page(shipped[2]))
    assert found.open == []
    assert found.fetched == []
    assert {link for link in found.links if not link.startswith("#")} == set()
    assert {link.removeprefix("#") for link in found.links} - set(found.ids) == set()
    assert len(found.ids) == len(set(found.ids))
    assert (found.tags.count("script"), found.tags.count("svg")) == (1, len(shipped[2]))


def test_links_of_the_markdown_lead_to_files_and_places(shipped: tuple[Catalog, Models, list[Page]]):
    made = {f"{page.slug}.md": markdown(page) for page in shipped[2]}
    for name, text in made.items():
        for target in re.findall(r"\]\(([^)]+)\)", text):
            path, _, anchor = target.partition("#")
            file = str((Path("/") / name).parent.joinpath(path).resolve()).removeprefix("/")
            assert file in made, target
            assert not anchor or f'<a id="{anchor}">' in made[file]


def test_every_column_rule_and_model_is_told(shipped: tuple[Catalog, Models, list[Page]]):
    catalog, models, made = shipped
    text = {page.slug: markdown(page) for page in made}
    for dataset in catalog.datasets.values():
        wanted = [c.name for c in dataset.columns] + [d.name for d in dataset.derived] + [r.name for r in dataset.rules]
        wanted += [w.name for w in dataset.windowed.columns] if dataset.windowed else []
        assert [name for name in wanted if f"`{name}`" not in text[f"datasets/{dataset.name}"]] == []
    for model in models:
        assert model.select_sql in text[f"models/{model.name}"]
        assert [c.name for c in model.columns if f"`{c.name}`" not in text[f"models/{model.name}"]] == []


def test_a_column_names_what_it_is_computed_from_and_what_reads_it(shipped: tuple[Catalog, Models, list[Page]]):
    text = {page.slug: markdown(page) for page in shipped[2]}
    row = next(line for line in text["models/mv_daily_covid_summary"].splitlines() if "`avg_mortality_rate`" in line)
    assert row.endswith("| [silver.clean_covid.mortality_rate](../datasets/covid.md#mortality_rate) |")
    row = next(line for line in text["datasets/covid"].splitlines() if line.startswith('| <a id="mortality_rate">'))
    assert "[avg_mortality_rate](../models/mv_daily_covid_summary.md#avg_mortality_rate)" in row


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> list[Page]:
    """The pages of a project in which every text that a person writes is markup."""
    tmp_path = tmp_path_factory.mktemp("hostile")
    for name in ("config", "sql"):
        shutil.copytree(ROOT / name, tmp_path / name)
    path = tmp_path / "config" / "datasets" / "users.yaml"
    text = path.read_text(encoding="utf-8").replace("description: Users", f"description: |\n  {HOSTILE} Users")
    text = text.replace("from: company.bs", "from: '<b>company</b>'").replace("/users\n", "/<img src=x>\n")
    path.write_text(text.replace('"email_valid"', "\"username <> '<script>'\""), encoding="utf-8")
    model = tmp_path / "sql" / "gold" / "mv_user_company_analysis.sql"
    text = model.read_text(encoding="utf-8").replace(
        "-- @select", "-- @select\n-- </script><script>alert(2)</script> ```"
    )
    model.write_text(re.sub(r"-- description: .*", f"-- description: {HOSTILE}", text), encoding="utf-8")
    catalog = load_catalog(tmp_path / "config" / "datasets")
    return pages(catalog, load_models(tmp_path / "sql"))


def test_nothing_that_people_write_is_markup_in_the_page(
    hostile: list[Page], shipped: tuple[Catalog, Models, list[Page]]
):
    text = html_page(hostile)
    assert "<script>alert" not in text
    assert "alert(1)" in text
    assert "alert(2)" in text
    assert set(Html(text).tags) == set(Html(html_page(shipped[2])).tags)


def test_nothing_that_people_write_is_markup_in_the_markdown(hostile: list[Page]):
    for page in hostile:
        outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", markdown(page), flags=re.MULTILINE | re.DOTALL)
        outside = re.sub(r"(?<!\\)(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)
        assert re.sub(r'<a id="\w+"></a>', "", outside).count("<") == 0
        assert "[x](y)" not in outside


def test_what_the_page_has_no_words_for_is_listed(shipped: tuple[Catalog, Models, list[Page]]):
    from pydantic import create_model

    from services.cli.docs.datasets import _further
    from services.cli.docs.document import Heading, Table
    from shared.dataset import Dataset

    wider = create_model("Wider", __base__=Dataset, expectations=(dict, {}))
    body = shipped[0]["users"].model_dump(by_alias=True, mode="json", exclude_unset=True)
    blocks = list(_further(wider.model_validate(body | {"expectations": {"fresh": [{"hours": 3}]}})))
    assert isinstance(blocks[0], Heading)
    assert blocks[0].text == "Expectations"
    assert isinstance(blocks[1], Table)
    assert markdown(Page("x", "", "x", tuple(blocks))).endswith("| `fresh[0].hours` | `3` |\n")


def test_the_graph_leads_from_sources_over_datasets_to_models(shipped: tuple[Catalog, Models, list[Page]]):
    graph = lineage_graph(shipped[0], shipped[1])
    assert ("source of covid", "silver.clean_covid") in graph.edges
    assert ("gold.covid_global_summary", "gold.daily_aggregates") in graph.edges
    assert graph.references == (("silver.clean_posts", "silver.clean_users"),)
    near = {node.name for node in around(graph, "gold.daily_aggregates").nodes}
    assert near == {
        "source of covid", "silver.clean_covid", "gold.covid_global_summary", "gold.daily_aggregates",
        "gold.weekly_aggregates", "gold.monthly_kpis",
    }  # fmt: skip


def test_boxes_of_the_drawing_do_not_overlap_and_arrows_lead_to_the_right(shipped: tuple[Catalog, Models, list[Page]]):
    drawn = svg(lineage_graph(shipped[0], shipped[1]))
    places = [tuple(map(float, place)) for place in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)"', drawn)]
    boxes = [(x, y) for x, y in places]
    assert len(boxes) == len(lineage_graph(shipped[0], shipped[1]).nodes)
    for i, (x, y) in enumerate(boxes):
        assert not [1 for other_x, other_y in boxes[i + 1 :] if abs(x - other_x) < 228 and abs(y - other_y) < 44]
    curves = re.findall(r'class="edge" d="M([\d.]+) [\d.]+C.* ([\d.]+) [\d.]+"', drawn)
    assert curves
    assert all(float(start) < float(end) for start, end in curves)


def test_labels_are_text_in_mermaid():
    graph = Graph((Node("a", 'x"]; click n0 "javascript:1" <b>#', "source"),), ())
    label = mermaid(graph).splitlines()[1].removeprefix('    n0(["').removesuffix('"])')
    assert not set('"<>') & set(label)


def test_a_project_without_models_or_datasets_has_a_dictionary():
    made = pages(Catalog({}), Models({}))
    assert Html(html_page(made)).open == []


def test_documents_can_be_had_one_kind_at_a_time():
    settings = load_settings()
    assert [name for name, _ in documents(settings, "schema")] == ["dataset.schema.json"]
    assert [name for name, _ in documents(settings, "asyncapi")] == ["asyncapi.yaml"]
