"""What people name on the command line: objects by id or key, rows and letters by number."""

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from services.cli.connect import Stack
    from shared.ports import Session

ROW_ID_MAX = 2**63 - 1  # PostgreSQL's bigint


def object_named(session: "Session", stack: "Stack", text: str, status: str | None = None) -> uuid.UUID:
    """Return the id of the one object version that an id or key means; of several the one with this status.

    Raises ConfigurationError when there is none, or when it could be several.
    """
    found = session.rows(stack.query("objects_named"), {"object_id": _uuid(text), "key": text})
    session.rollback()
    if not found:
        raise ConfigurationError(
            f"the ledger knows no object {text!r}: name it by its id or its whole key (`medallion status --json` "
            "and `medallion runs --json` print both)"
        )
    preferred = [row for row in found if row[1] == status] or found
    if len(preferred) == 1:
        identity: uuid.UUID = preferred[0][0]
        return identity
    versions = "\n".join(f"  {row[0]}  {row[1]}, landed {row[3]:%Y-%m-%d %H:%M:%S} UTC" for row in preferred)
    raise ConfigurationError(f"{text} has {len(preferred)} versions; name one by its id:\n{versions}")


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def missing(wanted: Sequence[int], found: Sequence[int], what: str) -> None:
    """Raise ConfigurationError naming the numbers that are not among those found."""
    lacking = sorted(set(wanted) - set(found))
    if lacking:
        raise ConfigurationError(f"there is no {what} {', '.join(map(str, lacking))}; nothing was done")
