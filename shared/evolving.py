"""Columns that no contract declares: what they are called, whichever file or record brings them first.

A column's name follows from its name in the file and from the contract alone, never from what the database knows, so
that any order of files gives the same tables. Within one file or record two names that would become one are told apart
by a hash of how they are written; a double underscore stands before it, which no name taken from a file has itself.
"""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping

from shared.dataset import Dataset
from shared.ddl import business_columns
from shared.naming import NAME_CHARACTERS_MAX, RESERVED

_HASH_DIGITS = 8


def taken_names(dataset: Dataset) -> frozenset[str]:
    """Return the names that the contract's own columns have."""
    return frozenset(name for name, _ in business_columns(dataset))


def column_names(origins: Collection[str], taken: Collection[str]) -> Mapping[str, str]:
    """Return the column's name for each name that stands in a file beside the others.

    Lower case, without accents, one underscore for what is no letter or digit; a reserved word gets an underscore
    behind it. Where letters are lost, where the name is taken or too long, or where it is another's too, a hash of
    `origin` follows; of names that would be one, the one that is written like the column goes without.
    """
    plain = {origin: _plain(origin) for origin in origins}
    shared = {name for name in plain.values() if list(plain.values()).count(name) > 1}
    return {
        origin: _hashed(name, origin)
        if _is_lossy(origin) or name in taken or (name in shared and name != origin)
        else name
        for origin, name in plain.items()
    }


def likeness(name: str) -> str:
    """Return what is left of a name when case, accents and punctuation are no difference."""
    return re.sub(r"[^a-z0-9]", "", _folded(name))


def _folded(text: str) -> str:
    """Return a text in lower case, its letters parted from their accents, which are left out."""
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return "".join(character for character in parts if not unicodedata.combining(character))


def _plain(origin: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", _folded(origin)).strip("_")
    if not name or name[0].isdigit():
        name = f"column_{name}".rstrip("_")
    return f"{name}_" if name in RESERVED else name


def _is_lossy(origin: str) -> bool:
    """Say whether a name has letters that the column's cannot have, or more than it can have."""
    folded = _folded(origin)
    return (
        any(c.isalnum() and not c.isascii() for c in folded)
        or not likeness(origin)
        or len(_plain(origin)) > NAME_CHARACTERS_MAX
    )


def _hashed(name: str, origin: str) -> str:
    return f"{name[: NAME_CHARACTERS_MAX - 2 - _HASH_DIGITS].rstrip('_')}__{_digest(origin)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]
