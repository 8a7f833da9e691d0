"""The order of object versions: newer wins.

A version is 128 bits that sort as (landed_at, order within the key, object id); PostgreSQL keeps it as a `uuid`,
whose comparison is bytewise, so that the order is the same in Python, in SQL and in an index.
"""

import uuid
from datetime import UTC, datetime, timedelta

_NAMESPACE = uuid.UUID("6b1f6f1c-52b1-5c6e-9d52-0a7f3f7d1a42")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OLDEST = uuid.UUID(int=0)


def object_id(bucket: str, key: str, version_id: str, etag: str, last_modified: datetime) -> uuid.UUID:
    """Return the identity of an object version: by version id, else by ETag and modification time.

    It is computed, not drawn: whoever finds the version first, event or sweep, gives it the same id.
    """
    name = version_id or f"{etag}|{micros(last_modified)}"
    return uuid.uuid5(_NAMESPACE, f"{bucket}\n{key}\n{name}")


def micros(moment: datetime) -> int:
    """Return microseconds since 1970 of a timezone-aware moment, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def version_of(landed_at: datetime, order_in_key: int, identity: uuid.UUID) -> uuid.UUID:
    """Pack (landed_at, order within the key, object id) into 64 + 16 + 48 bits that compare in that order."""
    order = min(max(order_in_key, 0), 0xFFFF)
    return uuid.UUID(int=(micros(landed_at) << 64) | (order << 48) | (identity.int >> 80))


def drop_landed_at(last_modified: datetime, is_exact: bool) -> datetime:
    """Return when a dropped object counts as landed: its modification time, or the end of that second.

    Servers that keep whole seconds would otherwise date a drop before what landed earlier in the same second. On those that
    keep fractions (`is_exact`) a whole second is one: its end would be after what comes later in the same second.
    """
    if is_exact or last_modified.microsecond:
        return last_modified
    return last_modified + timedelta(microseconds=999_999)
