"""Fetching from the local file system: a copy that is one state of the file, or a clear failure."""

import hashlib
from pathlib import Path

from services.ingestor.sources import Fetched, NotModified, Previous, SourceFailed

CHUNK_BYTES = 1 << 20
ATTEMPTS_MAX = 3


def fetch_file(path: Path, previous: Previous | None, target: Path, file_bytes_max: int) -> Fetched | NotModified:
    """Copy a file into `target` unless its size and modification time are those of the last poll.

    Raises SourceFailed when it is missing, too large, or still being written after some attempts.
    """
    try:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            before = _stamp(path)
            if previous and previous.etag == before:
                return NotModified(attempt)
            if path.stat().st_size > file_bytes_max:
                raise SourceFailed(f"{path}: more than limits.file_bytes_max ({file_bytes_max}) bytes")
            digest, size_bytes = _copy(path, target)
            if _stamp(path) == before:
                return Fetched(target, path.name, size_bytes, digest, before, None, attempt)
    except OSError as error:
        raise SourceFailed(f"{path} cannot be read: {error.strerror}; correct source.url or its permissions") from error
    raise SourceFailed(f"{path} changes while it is read; the next poll tries again", attempts=ATTEMPTS_MAX)


def _stamp(path: Path) -> str:
    found = path.stat()
    return f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"


def _copy(path: Path, target: Path) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as source, target.open("wb") as copy:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += copy.write(chunk)
    return digest.hexdigest(), size_bytes
