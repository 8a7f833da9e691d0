"""Named queries: one file a query under sql/queries, whose first comment line says what it is for."""

import re
from pathlib import Path

from shared.errors import ConfigurationError

_PARAMETER = re.compile(r"%\((\w+)\)s")


def load_query(sql_dir: Path, name: str) -> str:
    """Return the SQL of sql/queries/<name>.sql; raises ConfigurationError when the file is missing."""
    path = sql_dir / "queries" / f"{name}.sql"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}); MEDALLION_SQL_DIR must hold queries/, gold/ and migrations/"
        ) from error


def query_problems(sql_dir: Path) -> list[str]:
    """Return what is wrong with the query files, as `file:line: what and remedy`."""
    return [p for path in sorted((sql_dir / "queries").glob("*.sql")) for p in _problems_of(path)]


def _problems_of(path: Path) -> list[str]:
    import sqlglot

    text = path.read_text(encoding="utf-8")
    problems = []
    if not re.match(r"-- \S", text):
        problems.append(f"{path}:1: begin with a comment line that says what the query is for")
    try:
        sqlglot.parse(_PARAMETER.sub("NULL", text).replace("%%", "%"), dialect="postgres")
    except sqlglot.errors.ParseError as error:
        place = error.errors[0] if error.errors else {}
        problems.append(f"{path}:{place.get('line', 1)}: not PostgreSQL: {place.get('description', error)}")
    return problems
