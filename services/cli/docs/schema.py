"""The JSON Schema of a dataset's YAML, for editors: completion, descriptions and errors while one types."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from shared.dataset import Dataset
from shared.functions import DERIVATIONS
from shared.naming import RESERVED

FILE = "dataset.schema.json"
_NAME_PATTERN = "^[a-z][a-z0-9_]{0,62}$"


def dataset_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema 2020-12) of config/datasets/*.yaml.

    It is the contract's own types; what they check beyond it (names that must exist, kinds that exclude each other)
    `medallion validate` finds.
    """
    schema = Dataset.model_json_schema()
    parts = {"Dataset": schema, **schema["$defs"]}
    rule = parts["Rule"]["properties"]
    rule["check"] = rule["expression"]  # the rule is known by two names, and a schema lists one for each field
    parts["Derived"]["properties"]["function"]["enum"] = sorted(DERIVATIONS)
    for part in parts.values():
        _lighten(part)
    reserved = {"not": {"enum": sorted(RESERVED)}}
    for name in ("Column", "Derived", "WindowedColumn"):
        parts[name]["properties"]["name"] |= {"pattern": _NAME_PATTERN, **reserved}
    schema["properties"]["dataset"] |= {"pattern": _NAME_PATTERN}
    schema["title"] = "A dataset of medallion"
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def _lighten(part: dict[str, Any]) -> None:
    """Take away what editors show and nobody needs: titles made from names, and defaults that mean nothing given."""
    for field in part.get("properties", {}).values():
        field.pop("title", None)
        if field.get("default", ...) is None:
            del field["default"]


def undescribed(model: type[BaseModel]) -> list[str]:
    """Return the fields of a model and of its parts that no description explains, as Part.field."""
    schema = model.model_json_schema()
    parts = {model.__name__: schema, **schema.get("$defs", {})}
    return [
        f"{name}.{field}"
        for name, part in parts.items()
        for field, said in part.get("properties", {}).items()
        if not said.get("description")
    ]
