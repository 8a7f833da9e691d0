"""The catalog: all dataset contracts of a folder, read and checked with errors that name file, line and remedy."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from shared.dataset import Dataset
from shared.errors import ConfigurationError
from shared.expectations import expectation_problems
from shared.rules import References, rule_problems


@dataclass(frozen=True)
class Catalog:
    """The datasets by name."""

    datasets: Mapping[str, Dataset]

    def for_key(self, object_key: str) -> Dataset | None:
        """Return the dataset that claims an object key: its first folder is the dataset's name."""
        folder, slash, rest = object_key.partition("/")
        return self.datasets.get(folder) if slash and rest else None

    def __getitem__(self, name: str) -> Dataset:
        if name not in self.datasets:
            raise ConfigurationError(
                f"no dataset is called {name!r}; config/datasets declares: {', '.join(sorted(self.datasets))}"
            )
        return self.datasets[name]


def load_catalog(dataset_dir: Path) -> Catalog:
    """Read every *.yaml of a folder; raises ConfigurationError listing all problems of all files."""
    if not dataset_dir.is_dir():
        raise ConfigurationError(f"{dataset_dir} is not a folder; MEDALLION_CONFIG_DIR must hold datasets/*.yaml")
    datasets: dict[str, Dataset] = {}
    problems: list[str] = []
    for path in sorted(dataset_dir.glob("*.yaml")):
        found = problems_of(path)
        if isinstance(found, list):
            problems.extend(found)
        elif found.name in datasets:
            problems.append(f"{path}: dataset {found.name} is declared twice; rename one of the two")
        else:
            datasets[found.name] = found
    problems += _clashes(dataset_dir, datasets)
    problems += _unfounded(dataset_dir, datasets)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return Catalog(datasets)


def _clashes(dataset_dir: Path, datasets: Mapping[str, Dataset]) -> list[str]:
    """Return problems of datasets whose table would be another one's partition."""
    problems = []
    for name in datasets:
        for other in datasets.values():
            if other.partitioning and re.fullmatch(rf"{other.name}_([0-9]{{4}}|other)", name):
                problems.append(
                    f"{dataset_dir / name}.yaml:1: dataset: {name!r} is how {other.name} calls a partition; rename it"
                )
    return problems


def _unfounded(dataset_dir: Path, datasets: Mapping[str, Dataset]) -> list[str]:
    """Return problems of references: to what is no key of another dataset, and in circles."""
    problems = []
    for dataset in datasets.values():
        path = dataset_dir / f"{dataset.name}.yaml"
        for index, rule in enumerate(dataset.rules):
            said = _no_reference(dataset, rule.references, datasets) if rule.references else None
            if said and path.is_file():
                place = ("rules", index, "references")
                problems.append(f"{path}:{line_in_file(path, place)}: rules.{index}.references: {said}")
    return problems


def _no_reference(dataset: Dataset, declared: References, datasets: Mapping[str, Dataset]) -> str | None:
    parent = datasets.get(declared.parent)
    if parent is None:
        return f"no dataset is called {declared.parent!r}; there are: {', '.join(sorted(datasets))}"
    if parent.primary_key != (declared.parent_column,):
        key = ", ".join(parent.primary_key) or "none: its rows are appended"
        return (
            f"{declared.key} is not the primary_key of {parent.name} ({key}); a reference leads to a key of one column"
        )
    own, other = dataset.rule_types[declared.of], parent.column(declared.parent_column).type
    if own != other:
        return f"{declared.of} is of type {own}, but {declared.key} of type {other}; declare them alike"
    if dataset.name in _ancestors(parent.name, datasets):
        return (
            f"{dataset.name} and {parent.name} wait for each other: rows that refer to rows of their own kind, in "
            "however many steps, would stay in quarantine for ever. Remove one of the references"
        )
    return None


def _ancestors(name: str, datasets: Mapping[str, Dataset]) -> set[str]:
    """Return a dataset and all that it refers to, in however many steps."""
    found, waiting = {name}, [name]
    while waiting:
        dataset = datasets.get(waiting.pop())
        parents = {rule.references.parent for rule in dataset.references if rule.references} if dataset else set()
        waiting += parents - found
        found |= parents
    return found


def problems_of(path: Path) -> Dataset | list[str]:
    """Read one contract: the dataset, or its problems as `file:line: field: what and remedy`."""
    text = path.read_text(encoding="utf-8")
    try:
        node = yaml.compose(text)
        body = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return [f"{path}:{line}: not YAML: {error.problem}"]
    if not isinstance(body, dict):
        return [f"{path}:1: a mapping with `dataset:`, `format:`, `columns:` … was expected"]
    try:
        dataset = Dataset.model_validate(body)
    except ValidationError as error:
        return [_problem(path, node, dict(e)) for e in error.errors()]
    if dataset.name != path.stem:
        return [
            f"{path}:{_line_of(node, ('dataset',))}: dataset: {dataset.name!r} must be the file's name, {path.stem!r}"
        ]
    misfits = [
        *rule_problems(dataset.rules, dataset.rule_types, dataset.primary_key),
        *expectation_problems(dataset.expectations, dataset.rule_types, dataset.rules, dataset.is_append),
    ]
    wrong = [f"{path}:{_line_of(node, place)}: {'.'.join(map(str, place))}: {said}" for place, said in misfits]
    return wrong or dataset


def _problem(path: Path, node: yaml.Node | None, error: dict[str, Any]) -> str:
    location = tuple(part for part in error["loc"] if part not in ("csv", "json", "jsonl"))
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "no such field here; remove it, or look at config/datasets/covid.yaml for those there are"
    elif error["type"] == "missing":
        message = "is missing; add it"
    return f"{path}:{_line_of(node, location)}: {'.'.join(map(str, location)) or 'dataset'}: {message}"


def line_in_file(path: Path, location: tuple[int | str, ...]) -> int:
    """Return the 1-based line of the field of a YAML file that a location leads to, as deep as the file goes."""
    return _line_of(yaml.compose(path.read_text(encoding="utf-8")), location)


def _line_of(node: yaml.Node | None, location: tuple[int | str, ...]) -> int:
    """Return the 1-based line of the deepest YAML node that a location leads to."""
    line = 1
    for part in location:
        child: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    line, child = key.start_mark.line + 1, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            child = node.value[part]
            line = child.start_mark.line + 1
        if child is None:
            return line
        node = child
    return line
