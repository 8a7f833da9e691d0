"""Small objects by obstore: a request costs it a third of minio-py's time and a fifth of its CPU (ARCHITECTURE.md).

It is the quick way to the same server and never the only one: what it does not do, for whatever reason, it leaves to the
package that does everything and says what is wrong. So nothing here may be done twice with another effect than once.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from shared.ports import ObjectInfo

T = TypeVar("T")
log = logging.getLogger(__name__)

BYTES_MAX = 1 << 20  # a timeout is for a whole request, so that no request must be long
TIMEOUT = timedelta(seconds=10)
CONNECT_TIMEOUT = timedelta(seconds=3)
REST_SECONDS = 30.0  # after requests that the server did not answer


class SmallObjects:
    """Describes, reads and writes single small objects, or says that it does not; safe to share between threads."""

    def __init__(self, endpoint: str, access_key: str, secret_key: str, region: str, *, secure: bool) -> None:
        self._options: dict[str, Any] = {
            "endpoint": f"{'https' if secure else 'http'}://{endpoint}",
            "access_key_id": access_key,
            "secret_access_key": secret_key,
            "region": region,
            "virtual_hosted_style_request": False,
            "client_options": {"allow_http": not secure, "timeout": TIMEOUT, "connect_timeout": CONNECT_TIMEOUT},
            "retry_config": {"max_retries": 0},
        }
        self._stores: dict[str, S3Store] = {}  # by bucket
        self._rests_until = 0.0

    def head(self, bucket: str, key: str, version_id: str) -> tuple[Mapping[str, Any], Mapping[str, str]] | None:
        """Return what obstore tells of a version, and its user metadata as it travels; None: ask otherwise."""

        def ask(store: S3Store) -> tuple[Mapping[str, Any], Mapping[str, str]]:
            found = obstore.get(store, key, options=cast("Any", {"head": True, **_version(version_id)}))
            # Standard headers are among the attributes, under names with capitals; those of users have none.
            named = {str(name): str(value) for name, value in found.attributes.items()}
            return found.meta, {name: value for name, value in named.items() if name == name.lower()}

        return self._tried(bucket, key, ask)

    def read(self, info: ObjectInfo) -> memoryview | None:
        """Return the bytes of exactly the version that `info` names; None: ask otherwise."""
        if info.size_bytes > BYTES_MAX:
            return None

        def ask(store: S3Store) -> memoryview | None:
            which = _version(info.version_id) or {"if_match": f'"{info.etag}"'}
            found = obstore.get(store, info.key, options=cast("Any", which))
            return memoryview(found.bytes()) if found.meta["size"] == info.size_bytes else None

        return self._tried(info.bucket, info.key, ask)

    def write(self, bucket: str, key: str, path: Path, metadata: Mapping[str, str]) -> bool:
        """Store a file under a key whose older contents are of no matter; False: do it otherwise."""
        if path.stat().st_size > BYTES_MAX:
            return False

        def ask(store: S3Store) -> bool:
            obstore.put(store, key, path.read_bytes(), attributes=dict(metadata), use_multipart=False)
            return True

        return bool(self._tried(bucket, key, ask))

    def _tried(self, bucket: str, key: str, ask: Callable[[S3Store], T]) -> T | None:
        if time.monotonic() < self._rests_until or not _is_kept_as_it_is(key):
            return None
        try:
            return ask(self._store(bucket))
        except (FileNotFoundError, ValueError):
            return None  # there is no such object, or it does not take the name
        except BaseError as error:
            if "Server returned" not in str(error):
                self._rests_until = time.monotonic() + REST_SECONDS
            log.debug("A small object is asked for otherwise.", extra={"action": "obstore", "reason": str(error)})
            return None

    def _store(self, bucket: str) -> S3Store:
        if bucket not in self._stores:
            self._stores[bucket] = S3Store(bucket, **self._options)
        return self._stores[bucket]


def _version(version_id: str) -> dict[str, str]:
    return {"version": version_id} if version_id else {}


def _is_kept_as_it_is(key: str) -> bool:
    """Say whether obstore takes this key for itself: it leaves out slashes at both ends and refuses empty parts."""
    return all(part not in ("", ".", "..") for part in key.split("/"))
