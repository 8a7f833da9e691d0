"""The format of sql/gold/<model>.sql, read into frozen types, or problems as `file:line: field: what`.

A file is a header of `-- field: value` lines (`made of`, for `explain`: which rows a row is made of; `depends on:
silver.*` stands for the clean tables of all datasets) followed by named statements, each ended by a semicolon:

    -- @select            what the model's rows are: one SELECT
    -- @scope             incremental only: the groups that a change touches, from changes_<dataset>
    -- @audit name: text  a query that must return no rows; the text says what is wrong with those it returns
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

Kind = Literal["incremental", "materialized_view", "view"]
_FIELD = re.compile(r"-- ([a-z][a-z ]*):\s*(.*)")
_MORE = re.compile(r"--\s{2,}(\S.*)")
_SECTION = re.compile(r"-- @([a-z]+)\s*(.*)")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_COLUMN = re.compile(r"([a-z][a-z0-9_]*) (text|bigint|numeric|boolean|date|timestamptz|jsonb|text\[\]): (.+)")
PARAMETER = re.compile(r"(?<!:):([a-z][a-z0-9_]*)")  # :name, but not a ::cast
_FIELDS = ("name", "description", "kind", "grain", "depends on", "made of", "scope by", "context", "history",
           "columns")  # fmt: skip


@dataclass(frozen=True)
class ModelColumn:
    """A column as the header declares it."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class Audit:
    """A query that must return no rows."""

    name: str
    description: str
    sql: str


@dataclass(frozen=True)
class Ingredient:
    """Which rows of a table a row of the model is made of: a condition on them, with `:column` for the row's own."""

    table: str
    condition: str


@dataclass(frozen=True)
class Model:
    """One gold model."""

    name: str
    description: str
    kind: Kind
    grain: tuple[str, ...]  # columns that tell rows apart: the table's key
    depends_on: tuple[str, ...]  # qualified tables that its SQL reads
    made_of: tuple[Ingredient, ...]  # for `explain`; may be empty
    columns: tuple[ModelColumn, ...]
    scope_by: tuple[str, ...]  # grain columns by which the scope names groups
    context: str  # boolean column of the scope: true for groups that are read and not written; '' if none
    keeps_history: bool  # rows outside the scope outlive a rebuild: they cannot be computed again
    scope_sql: str
    select_sql: str
    audits: tuple[Audit, ...]
    path: Path

    @property
    def table(self) -> str:
        """Qualified name of the table or view."""
        return f"gold.{self.name}"


class _File:
    """The parts of one file with their lines, and the problems met on the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fields: dict[str, str] = {}
        self.lines: dict[str, int] = {}
        self.sections: list[tuple[str, str, int, list[str]]] = []  # kind, rest of its line, line number, SQL lines
        self.problems: list[str] = []
        self._field = ""
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            self._take(number, line)

    def _take(self, number: int, line: str) -> None:
        if section := _SECTION.fullmatch(line):
            self.sections.append((section[1], section[2], number, []))
        elif self.sections:
            self.sections[-1][3].append(line)
        elif field := _FIELD.fullmatch(line):
            self._field = field[1]
            self.fields[self._field], self.lines[self._field] = field[2], number
            if self._field not in _FIELDS:
                self.problem(self._field, f"no such field; there are: {', '.join(_FIELDS)}")
        elif (more := _MORE.fullmatch(line)) and self._field:
            self.fields[self._field] += "\n" + more[1].rstrip()
        elif line.strip():
            self.problem(
                "header",
                "a line `-- field: value` or `-- @select` was expected; indent continuations",
                number,
            )

    def problem(self, field: str, text: str, line: int = 0) -> None:
        """Note what is wrong with a field."""
        self.problems.append(f"{self.path}:{line or self.lines.get(field, 1)}: {field}: {text}")

    def required(self, field: str) -> str:
        """Return a field's text; an absent one is a problem."""
        if not self.fields.get(field):
            self.problem(field, f"is missing; add a line `-- {field}: …`")
        return " ".join(self.fields.get(field, "").split())

    def names(self, field: str, *, is_required: bool) -> tuple[str, ...]:
        """Return a field's comma-separated names."""
        text = self.required(field) if is_required else self.fields.get(field, "")
        return tuple(part.strip() for part in text.replace("\n", " ").split(",") if part.strip())

    def statements(self, kind: str) -> list[tuple[str, str, int]]:
        """Return (rest of the marker's line, SQL without its semicolon, line) of the sections of a kind."""
        found = []
        for section, rest, line, body in self.sections:
            sql = "\n".join(body).strip()
            if section == kind:
                if not sql.endswith(";"):
                    self.problem(f"@{kind}", "the statement must end with a semicolon", line)
                found.append((rest, sql.removesuffix(";").rstrip(), line))
        return found

    def only(self, kind: str) -> str:
        """Return the SQL of a section that must be there once."""
        found = self.statements(kind)
        if len(found) != 1:
            self.problem(f"@{kind}", f"there must be one `-- @{kind}` with a SELECT, not {len(found)}")
        return found[0][1] if found else ""


def read_model(path: Path) -> Model | list[str]:
    """Read one file: the model, or its problems as `file:line: field: what and remedy`."""
    file = _File(path)
    kind = cast(Kind, file.required("kind"))
    is_table = kind == "incremental"
    grain, columns = file.names("grain", is_required=True), _columns(file)
    model = Model(
        name=file.required("name"),
        description=file.required("description"),
        kind=kind,
        grain=grain,
        depends_on=file.names("depends on", is_required=True),
        made_of=_made_of(file, {column.name for column in columns}),
        columns=columns,
        scope_by=file.names("scope by", is_required=is_table),
        context=file.fields.get("context", ""),
        keeps_history=file.fields.get("history", "") == "kept",
        scope_sql=file.only("scope") if is_table else "",
        select_sql=file.only("select"),
        audits=_audits(file),
        path=path,
    )
    _check(file, model)
    return file.problems or model


def _columns(file: _File) -> tuple[ModelColumn, ...]:
    file.required("columns")
    columns = []
    for text in filter(None, file.fields.get("columns", "").split("\n")):
        if match := _COLUMN.fullmatch(text):
            columns.append(ModelColumn(match[1], match[2], match[3]))
        else:
            file.problem("columns", f"{text!r} is not `name type: description` with a type that gold uses")
    return tuple(columns)


def _made_of(file: _File, columns: Collection[str]) -> tuple[Ingredient, ...]:
    ingredients = []
    for text in filter(None, file.fields.get("made of", "").split("\n")):
        table, colon, condition = (part.strip() for part in text.partition(":"))
        if not colon or "." not in table or not condition:
            file.problem("made of", f"{text!r} is not `schema.table: condition`")
        for name in PARAMETER.findall(condition):
            if name not in columns:
                file.problem("made of", f":{name} is no column of the model; there are: {', '.join(sorted(columns))}")
        ingredients.append(Ingredient(table, condition))
    return tuple(ingredients)


def _audits(file: _File) -> tuple[Audit, ...]:
    audits = []
    for rest, sql, line in file.statements("audit"):
        name, _, description = (part.strip() for part in rest.partition(":"))
        if not _NAME.fullmatch(name) or not description:
            file.problem("@audit", "write `-- @audit name: what is wrong with the rows it returns`", line)
        audits.append(Audit(name, description, sql))
    return tuple(audits)


def _check(file: _File, model: Model) -> None:
    """Note where fields contradict each other or the file."""
    names = [c.name for c in model.columns]
    if model.name and model.name != file.path.stem:
        file.problem("name", f"{model.name!r} must be the file's name, {file.path.stem!r}")
    if model.kind and model.kind not in get_args(Kind):
        file.problem("kind", f"{model.kind!r} is none of: {', '.join(get_args(Kind))}")
    for field, wanted, known in (("grain", model.grain, names), ("scope by", model.scope_by, model.grain)):
        for name in wanted:
            if name not in known:
                file.problem(field, f"{name!r} is not among: {', '.join(known)}")
    if len(set(names)) != len(names):
        file.problem("columns", "a column is declared twice; remove one")
    if file.fields.get("history", "kept") != "kept":
        file.problem("history", "write `kept`, or leave the field out")
    for section, _, line, _ in file.sections:
        if section not in ("scope", "select", "audit"):
            file.problem(f"@{section}", "no such section; there are: @scope, @select, @audit", line)


def sql_problems(model: Model) -> list[str]:
    """Return what sqlglot finds wrong: syntax, and tables that are read but not named in `depends on`."""
    import sqlglot
    from sqlglot import exp

    problems = []
    audits = [(f"@audit {audit.name}", audit.sql) for audit in model.audits]
    for section, sql in [("@scope", model.scope_sql), ("@select", model.select_sql), *audits]:
        line = line_of(model.path, f"-- {section}")
        try:
            tree = sqlglot.parse_one(sql, dialect="postgres") if sql else None
        except sqlglot.errors.ParseError as error:
            place = error.errors[0] if error.errors else {}
            line += int(place.get("line") or 0)
            problems.append(f"{model.path}:{line}: {section}: not PostgreSQL: {place.get('description', error)}")
            continue
        read = {f"{t.db}.{t.name}" for t in tree.find_all(exp.Table) if t.db and t.name} if tree else set()
        for name in sorted(read - {*model.depends_on, model.table}):
            problems.append(f"{model.path}:{line}: {section}: reads {name}; add it to `depends on`")
    return problems


def line_of(path: Path, start: str) -> int:
    """Return the 1-based line of the first line that begins with `start`; 1 where there is none."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((n for n, line in enumerate(lines, 1) if line.startswith(start)), 1)
