"""Decide what happens to each record of an object: a pure comparison of hashes with what silver holds.

Two ways, one result: `in_memory` on arrays, `in_postgres` on a staging table for files and tables too large for it.
Both give one action a record, in file order; a property test holds them equal.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa

Bytes = "np.ndarray[Any, np.dtype[np.uint64]]"  # shape (n, 2): the big-endian halves of 128-bit values


class Action(IntEnum):
    """What becomes of a record."""

    INSERT = 0  # its key is new
    UPDATE = 1  # its key is known with other values
    UNCHANGED = 2  # its key is known with the same values
    DUPLICATE = 3  # the object holds the same row again, later
    CONFLICT = 4  # the object holds another row of the key, later
    SUPERSEDED = 5  # a newer object decided on its key


@dataclass(frozen=True)
class Incoming:
    """The good rows of an object in file order."""

    key: Any  # (n, 2) uint64
    row: Any  # (n, 2) uint64


@dataclass(frozen=True)
class Existing:
    """The live rows of silver that may be compared with: all of them, or those with the incoming keys."""

    key: Any  # (m, 2) uint64
    row: Any  # (m, 2) uint64
    is_newer: Any  # (m,) bool: written by a newer object than the one at hand

    @property
    def count(self) -> int:
        """Live rows."""
        return len(self.is_newer)


@dataclass(frozen=True)
class Decision:
    """One action a record, and the live keys that the object does not hold."""

    actions: Any  # (n,) uint8
    absent: Any  # (k,) indexes into Existing of keys that no incoming record has


class HashCollision(Exception):
    """Two different keys share the upper 64 bits of their hash; the staging table compares all 128."""


def halves(array: pa.Array) -> Any:
    """Return 16-byte values as (n, 2) uint64, upper half first, so that they compare like the bytes."""
    count = len(array)
    if not count:
        return np.empty((0, 2), np.uint64)
    data = array.buffers()[1]
    values = np.frombuffer(data, ">u8", count=2 * count, offset=16 * array.offset)
    return values.reshape(count, 2).astype(np.uint64)


def uuid_halves(value: UUID) -> tuple[int, int]:
    """Return the upper and lower 64 bits of an id."""
    return value.int >> 64, value.int & 0xFFFF_FFFF_FFFF_FFFF


def in_memory(incoming: Incoming, existing: Existing) -> Decision:
    """Compare on sorted arrays; raises HashCollision in the one case they cannot tell apart."""
    actions, winners = _within(incoming)
    order = np.argsort(existing.key[:, 0], kind="stable")
    upper = existing.key[order, 0]
    if len(upper) > 1 and (upper[1:] == upper[:-1]).any():
        raise HashCollision
    wanted = incoming.key[winners, 0]
    place = np.searchsorted(upper, wanted)
    found = np.zeros(len(wanted), bool)
    inside = place < len(upper)
    found[inside] = upper[place[inside]] == wanted[inside]
    match = order[place[found]]
    if (existing.key[match, 1] != incoming.key[winners[found], 1]).any():
        raise HashCollision
    same = (existing.row[match] == incoming.row[winners[found]]).all(axis=1)
    actions[winners[~found]] = Action.INSERT
    actions[winners[found]] = np.where(
        existing.is_newer[match], Action.SUPERSEDED, np.where(same, Action.UNCHANGED, Action.UPDATE)
    )
    is_absent = np.ones(existing.count, bool)
    is_absent[match] = False
    return Decision(actions, np.flatnonzero(is_absent))


def _within(incoming: Incoming) -> tuple[Any, Any]:
    """Settle keys that an object holds more than once: the last row wins; return actions and the winners' indexes."""
    count = len(incoming.key)
    actions = np.full(count, Action.INSERT, np.uint8)
    if count < 2:
        return actions, np.arange(count)
    order = np.argsort(incoming.key[:, 0], kind="stable")
    upper, lower = incoming.key[order, 0], incoming.key[order, 1]
    repeats = upper[1:] == upper[:-1]
    if not repeats.any():
        return actions, np.arange(count)
    if (lower[1:] != lower[:-1])[repeats].any():
        raise HashCollision
    is_last = np.append(~repeats, True)
    last_of = order[np.flatnonzero(is_last)[np.cumsum(np.append(0, is_last[:-1]))]]  # winner of each sorted position
    losers, winner_of_loser = order[~is_last], last_of[~is_last]
    same = (incoming.row[losers] == incoming.row[winner_of_loser]).all(axis=1)
    actions[losers] = np.where(same, Action.DUPLICATE, Action.CONFLICT)
    return actions, np.sort(order[is_last])


STAGE = "CREATE TEMP TABLE staged (seq bigint, key_hash uuid, row_hash uuid) ON COMMIT DROP"
STAGE_COPY = "COPY staged (seq, key_hash, row_hash) FROM STDIN (FORMAT binary)"


def decide_statement(clean_table: str, version: UUID) -> str:
    """Return the query whose rows are the actions (as smallint) of the staged records in file order."""
    return f"""
        SELECT CASE
            WHEN s.seq <> w.seq THEN CASE WHEN s.row_hash = w.row_hash THEN {Action.DUPLICATE} ELSE {Action.CONFLICT} END
            WHEN c._key_hash IS NULL THEN {Action.INSERT}
            WHEN c._version > '{version}' THEN {Action.SUPERSEDED}
            WHEN c._row_hash = s.row_hash THEN {Action.UNCHANGED}
            ELSE {Action.UPDATE} END::smallint
        FROM staged s
        JOIN (SELECT DISTINCT ON (key_hash) key_hash, seq, row_hash FROM staged ORDER BY key_hash, seq DESC) w
            USING (key_hash)
        LEFT JOIN {clean_table} c ON c._key_hash = s.key_hash
        ORDER BY s.seq"""
