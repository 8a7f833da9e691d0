"""What can go wrong, as types: the type decides what a worker does next.

    MedallionError
    ├── ConfigurationError     the user's files or settings are wrong        → say where, exit 2
    ├── Unavailable            a server is away or broke off                 → retry, then exit unacknowledged
    ├── ObjectGone             the object vanished before it was read        → ignored, with a record
    ├── ObjectDamaged          length or sha256 differ from what was stored  → retry once, then rejected
    ├── Rejected               the file breaks its contract                  → rejected, changes nothing
    ├── ClaimLost              another worker took the object over           → roll back, acknowledge
    ├── UndecodableEvent       an event nobody can read                      → dead letter
    └── Outstanding            work is left when none was expected           → exit 1

Anything else that escapes is a bug: it becomes a dead letter, and many of them stop the worker visibly.
"""


class MedallionError(Exception):
    """The root of every error that this project raises on purpose."""


class ConfigurationError(MedallionError):
    """A setting or a file of the user's is wrong; the message names the place and the remedy."""


class Unavailable(MedallionError):
    """A server (database, object store or broker) cannot be reached or broke off; trying again may help."""

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"{server} is not available: {reason}")
        self.server = server


class ObjectGone(MedallionError):
    """The object, or this version of it, is no longer in the bucket."""


class ObjectDamaged(MedallionError):
    """The bytes read are not the bytes that were stored."""


class Rejected(MedallionError):
    """The file as a whole breaks its contract; nothing of it takes effect."""


class ClaimLost(MedallionError):
    """Another worker has taken this object over since it was claimed."""


class UndecodableEvent(MedallionError):
    """The bytes on the topic are neither one of our events nor an S3 notification."""


class Outstanding(MedallionError):
    """Work is left that was expected to be finished."""
