"""Which names a contract may use: they go into SQL without quotes."""

import hashlib
import re
from typing import Annotated

from pydantic import AfterValidator

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
NAME_CHARACTERS_MAX = 63
VARIANT_SUFFIX = "__v_text"
DATASET_NAME_CHARACTERS_MAX = 45  # partitions and indexes add to it, and PostgreSQL cuts names at 63
# Words that PostgreSQL or DuckDB reserve, its system columns, and the columns that tables have anyway: names are
# written into SQL without quotes, so that people can do the same.
_RESERVED_WORDS = """
    all analyse analyze and anti any array as asc asof asymmetric authorization binary both case cast check collate
    collation column concurrently constraint create cross current_catalog current_date current_role current_schema
    current_time current_timestamp current_user default deferrable desc describe distinct do else end except false fetch
    for foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lambda lateral
    leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps
    pivot placing positional primary qualify references returning right select semi session_user show similar some
    summarize symmetric system_user table tablesample then to trailing true union unique unpivot user using variadic
    verbose when where window with tableoid xmin cmin xmax cmax ctid ingestion_id ingestion_timestamp raw_data
"""
RESERVED = frozenset(_RESERVED_WORDS.split())


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a usable name: lower-case letters, digits and underscores, a letter first, at most 63"
        )
    if value in RESERVED:
        raise ValueError(f"{value!r} is reserved; choose another name and keep the file's own in `from`")
    return value


Name = Annotated[str, AfterValidator(_name)]


def variant_name(column: str) -> str:
    """Return the column in which texts are kept that are not of a column's type, named as dlt does."""
    if len(column) + len(VARIANT_SUFFIX) <= NAME_CHARACTERS_MAX:
        return column + VARIANT_SUFFIX
    digest = hashlib.sha256(column.encode()).hexdigest()[:8]
    return f"{column[: NAME_CHARACTERS_MAX - len(VARIANT_SUFFIX) - len(digest)]}{digest}{VARIANT_SUFFIX}"
