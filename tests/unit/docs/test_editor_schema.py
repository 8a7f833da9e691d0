"""The schema for editors: what it allows is what the contract takes, and the committed files are up to date."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.cli.docs.command import asyncapi_file, schema_file
from services.cli.docs.events import TOPICS, asyncapi
from services.cli.docs.schema import dataset_schema, undescribed
from shared.dataset import Dataset
from shared.events import CloudEvent
from shared.settings import BRONZE_READY, DEAD_LETTERS, GOLD_READY, SILVER_READY

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHIPPED = sorted((ROOT / "config" / "datasets").glob("*.yaml"))
TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "array": list,
         "object": dict}  # fmt: skip


def violations(schema: dict[str, Any], value: Any, root: dict[str, Any], place: str = "") -> Iterator[str]:
    """Yield where a value breaks a schema, for the words of JSON Schema that ours uses."""
    if "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        yield from violations(found, value, root, place)
    for word in ("anyOf", "oneOf"):
        if word in schema and not any(not list(violations(one, value, root, place)) for one in schema[word]):
            yield f"{place}: {value!r} is none of what {word} allows"
    wanted = TYPES.get(schema.get("type", ""), object)
    if not isinstance(value, wanted) or (isinstance(value, bool) and schema.get("type") in ("integer", "number")):
        yield f"{place}: {value!r} is no {schema['type']}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{place}: {value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: {value!r} is not in {schema['enum']}"
    if "not" in schema and not list(violations(schema["not"], value, root, place)):
        yield f"{place}: {value!r} is not allowed"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{place}: {value!r} does not match {schema['pattern']}"
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield f"{place}: too few"
        for index, item in enumerate(value):
            yield from violations(schema.get("items", {}), item, root, f"{place}.{index}")
    if isinstance(value, dict) and "properties" in schema:
        yield from (f"{place}: {name} is missing" for name in schema.get("required", ()) if name not in value)
        for name, item in value.items():
            known = schema["properties"].get(name)
            if known is not None:
                yield from violations(known, item, root, f"{place}.{name}")
            elif schema.get("additionalProperties", True) is False:
                yield f"{place}: {name} is unknown"


def as_json(value: Any) -> Any:
    """Return what an editor makes of YAML: dates are text."""
    if isinstance(value, dict):
        return {name: as_json(part) for name, part in value.items()}
    if isinstance(value, list):
        return [as_json(part) for part in value]
    return value.isoformat() if isinstance(value, date) else value


def broken(text: str) -> list[str]:
    schema = dataset_schema()
    return list(violations(schema, as_json(yaml.safe_load(text)), schema))


def examples(section: str) -> list[str]:
    """Return what the second column of a section's tables shows."""
    text = README.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| [^|]*\| `([a-z_]+: [^`]+)` \|", text, re.MULTILINE)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_contract_satisfies_the_schema(path: Path):
    text = path.read_text(encoding="utf-8")
    assert broken(text) == []
    assert text.startswith("# yaml-language-server: $schema=../dataset.schema.json\n")


def test_the_examples_of_the_readme_satisfy_the_schema():
    contract = re.search(r"```yaml\n(dataset: .*?)```", README, re.DOTALL)
    assert contract
    assert broken(contract[1]) == []
    body = yaml.safe_load(contract[1])
    rules, expectations = examples("Rules"), examples("Expectations")
    assert (len(rules) > 8, len(expectations) > 8) == (True, True)
    body["rules"] = [{"name": f"rule_{i}"} | yaml.safe_load(rule) for i, rule in enumerate(rules)]
    body["rules"] += [{"range": {"of": "day", "min": date(2020, 1, 1)}}, {"not_null": "station"}]
    body["expectations"] = [yaml.safe_load(one) for one in expectations]
    assert broken(yaml.safe_dump(body)) == []


CONTRACT = (ROOT / "config" / "datasets" / "covid.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("type: csv", "type: xlsx"),
        ("write_disposition: merge", "write_disposition: upsert"),
        ("function: subtract", "function: substract"),
        ("name: country,", "name: order,"),
        ("name: country,", "name: Country,"),
        ("severity: warn", "severity: warning"),
        ("primary_key: [record_date, country, province]", "primary_key: record_date"),
        ("limits:", "limit:"),
        ("  by: year", "  by: 7"),
    ],
)
def test_a_mistake_breaks_the_schema_as_it_breaks_the_contract(old: str, new: str):
    assert old in CONTRACT
    assert broken(CONTRACT.replace(old, new, 1)) != []


def test_every_field_of_a_contract_is_described():
    assert undescribed(Dataset) == []


@pytest.mark.parametrize(
    ("made", "folder", "form"), [(schema_file, "config", "schema"), (asyncapi_file, "deploy", "asyncapi")]
)
def test_the_committed_file_is_up_to_date(made: Any, folder: str, form: str):
    name, text = made()
    committed = (ROOT / folder / name).read_text(encoding="utf-8")
    assert committed == text, f"run `medallion docs --format {form} --output {folder}`"


def test_every_topic_and_event_is_described():
    assert [topic.name for topic in TOPICS] == [BRONZE_READY, SILVER_READY, GOLD_READY, DEAD_LETTERS]
    assert [undescribed(model) for model in (CloudEvent, *(topic.data for topic in TOPICS))] == [[]] * 5


def test_the_examples_of_events_satisfy_what_the_document_says_of_them():
    document = asyncapi()
    assert set(document["channels"]) == {topic.name for topic in TOPICS}
    for message in document["components"]["messages"].values():
        for example in message["examples"]:
            assert list(violations(message["payload"], example["payload"], document)) == []
