"""Landing: put a whole file into the bronze bucket with the metadata that orders it."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from shared.dataset import Dataset, Disposition
from shared.described import CONTENT_SHA256, LANDED_AT, SOURCE_URL, WRITE_DISPOSITION
from shared.ports import ObjectInfo, ObjectStore, Session
from shared.settings import BRONZE_BUCKET


@dataclass(frozen=True)
class Landing:
    """What is to be landed and how it is to be applied."""

    dataset: Dataset
    path: Path
    name: str  # the file's own name, kept at the end of the key
    write_disposition: Disposition
    source_url: str = ""
    landed_at: datetime | None = None  # default: the database's clock, now


def database_now(session: Session) -> datetime:
    """Return the database's clock: the one clock that orders what is landed."""
    moment: datetime = session.rows("SELECT clock_timestamp()")[0][0]
    return moment


def object_key(dataset: str, name: str, landed_at: datetime) -> str:
    """Return a key that is unique and readable; nothing ever reads order from it."""
    stamp = landed_at.strftime("%Y%m%dT%H%M%S_%fZ")
    return f"{dataset}/ingest_date={landed_at:%Y-%m-%d}/{stamp}_{secrets.token_hex(4)}_{name}"


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def land(session: Session, store: ObjectStore, landing: Landing) -> ObjectInfo:
    """Store the file with landed-at, write-disposition, sha256 and source as metadata; return what was stored.

    The object is not registered or announced here: the caller does that, and the sweep if the caller dies first.
    """
    landed_at = landing.landed_at or database_now(session)
    metadata = {
        LANDED_AT: landed_at.isoformat(timespec="microseconds"),
        WRITE_DISPOSITION: landing.write_disposition,
        CONTENT_SHA256: sha256_of(landing.path),
    }
    if landing.source_url:
        metadata[SOURCE_URL] = landing.source_url
    key = object_key(landing.dataset.name, landing.name, landed_at)
    return store.put_file(BRONZE_BUCKET, key, landing.path, metadata)
