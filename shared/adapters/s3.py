"""S3-compatible object stores through the minio package: see shared.ports.ObjectStore."""

import hashlib
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import urllib3
from minio import Minio
from minio.error import S3Error
from minio.notificationconfig import NotificationConfig, QueueConfig
from minio.versioningconfig import ENABLED, VersioningConfig

from shared.adapters.listing import PAGE_VERSIONS, Ask, Page, list_keys, list_level, list_versions, plain_version
from shared.adapters.s3errors import is_refusal, translated
from shared.adapters.s3metadata import HEADER, decode_metadata, decoded, encoded
from shared.adapters.smallobjects import SmallObjects
from shared.errors import ConfigurationError, ObjectDamaged, ObjectGone, Unavailable
from shared.ports import Folder, ObjectInfo
from shared.settings import Settings

# An outage has to show within seconds; silence of a minute on an open connection is an outage too.
CONNECT_TIMEOUT_SECONDS = 3.0
READ_TIMEOUT_SECONDS = 60.0
CONNECT_RETRIES = 2
CHUNK_BYTES = 1 << 20
# Larger than minio's own choice (5 MiB), which makes thousands of parts of a file of 10 GB.
PART_BYTES = 16 << 20
REGION = "us-east-1"  # named, because asking for it costs a request; self-hosted stores do not care

_EVENTS = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
_NOTIFICATION_ID = "medallion"
_FRACTION = re.compile(rb"<LastModified>[^<]*\.\d*[1-9]\d*Z</LastModified>")


class S3:
    """An object store reached over S3; safe to share between threads."""

    def __init__(
        self,
        endpoint: str,
        access_key: str,
        secret_key: str,
        *,
        secure: bool = False,
        page_versions: int = PAGE_VERSIONS,
    ) -> None:
        self._page_versions = page_versions
        self._is_exact = False  # its listings have fractions of a second
        self._small = SmallObjects(endpoint, access_key, secret_key, REGION, secure=secure)
        self._client = Minio(
            endpoint,
            access_key=access_key,
            secret_key=secret_key,
            secure=secure,
            region=REGION,
            http_client=urllib3.PoolManager(
                maxsize=16,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS),
                # What reached the server is not repeated here: the callers know what is safe to repeat.
                retries=urllib3.Retry(
                    total=None, connect=CONNECT_RETRIES, read=0, status=0, other=0, backoff_factor=0.2
                ),
            ),
        )

    def ensure_bucket(self, bucket: str, *, versioned: bool) -> None:
        """Create the bucket when it is missing and switch versioning on where asked."""
        with translated(f"bucket {bucket}"):
            if not self._client.bucket_exists(bucket):
                try:
                    self._client.make_bucket(bucket)
                except S3Error as error:  # another process was faster
                    if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                        raise
            if versioned and self._client.get_bucket_versioning(bucket).status != ENABLED:
                self._client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))

    def ensure_notification(self, bucket: str, arns: Sequence[str]) -> None:
        """Have the store announce what is created and removed in a bucket; what others configured stays."""
        try:
            with translated(f"bucket {bucket}"):
                known = self._client.get_bucket_notification(bucket)
                others = [
                    one
                    for one in known.queue_config_list or ()
                    if not (one.config_id or "").startswith(_NOTIFICATION_ID) and one.queue not in arns
                ]
                ours = [
                    QueueConfig(queue=arn, events=list(_EVENTS), config_id=f"{_NOTIFICATION_ID}-{number}")
                    for number, arn in enumerate(arns)
                ]
                wanted = NotificationConfig(known.cloud_func_config_list, [*others, *ours], known.topic_config_list)
                self._client.set_bucket_notification(bucket, wanted)
        except (ObjectGone, Unavailable) as error:
            if not is_refusal(error.__cause__):
                raise
            raise ConfigurationError(
                f"the object store cannot announce bucket {bucket} to {', '.join(arns)} ({error}): configure that in the "
                "store, or correct MEDALLION_S3_NOTIFICATION_ARN"
            ) from error

    def upload(self, bucket: str, key: str, path: Path, metadata: Mapping[str, str]) -> None:
        """Store a file, in parts where it is large."""
        if self._small.write(bucket, key, path, encoded(metadata)):
            return
        with path.open("rb") as file:
            self._put(bucket, key, file, path.stat().st_size, metadata)

    def put_file(self, bucket: str, key: str, path: Path, metadata: Mapping[str, str]) -> ObjectInfo:
        """Store a file, in parts where it is large, and describe what was stored."""
        with path.open("rb") as file:
            return self.stat(bucket, key, self._put(bucket, key, file, path.stat().st_size, metadata))

    def put_bytes(self, bucket: str, key: str, data: bytes, metadata: Mapping[str, str]) -> ObjectInfo:
        """Store bytes as one object and describe what was stored."""
        return self.stat(bucket, key, self._put(bucket, key, io.BytesIO(data), len(data), metadata))

    def _put(self, bucket: str, key: str, file: Any, size_bytes: int, metadata: Mapping[str, str]) -> str:
        """Store what a file holds and return its version id.

        The answer to a PUT has no modification time, which the identity of an unversioned object needs.
        """
        headers = {HEADER + name: value for name, value in encoded(metadata).items()}
        with translated(f"{bucket}/{key}"):
            stored = self._client.put_object(bucket, key, file, size_bytes, metadata=headers, part_size=PART_BYTES)
        return plain_version(stored.version_id)

    def stat(self, bucket: str, key: str, version_id: str = "") -> ObjectInfo:
        """Describe a version (default: the newest) with its user metadata; raises ObjectGone."""
        if answer := self._small.head(bucket, key, version_id):
            meta, user = answer
            return ObjectInfo(
                bucket=bucket,
                key=key,
                version_id=plain_version(meta["version"]),
                etag=(meta["e_tag"] or "").strip('"'),
                size_bytes=meta["size"],
                last_modified=meta["last_modified"],
                metadata={name: decode_metadata(value) for name, value in user.items()},
            )
        with translated(f"{bucket}/{key}"):
            found = self._client.stat_object(bucket, key, version_id=version_id or None)
        headers = {name.lower(): value for name, value in (found.metadata or {}).items()}
        if headers.get("x-amz-delete-marker") == "true":
            raise ObjectGone(f"{bucket}/{key} was deleted")
        return ObjectInfo(
            bucket=bucket,
            key=key,
            version_id=plain_version(found.version_id),
            etag=(found.etag or "").strip('"'),
            size_bytes=int(found.size or 0),
            last_modified=found.last_modified,
            metadata=decoded(headers),
        )

    def fetch(self, info: ObjectInfo, target: Path) -> str:
        """Write exactly the version `info` names into `target` and return its sha256 as hex."""
        what = f"{info.bucket}/{info.key}"
        if (data := self._small.read(info)) is not None:
            with translated(what):
                target.write_bytes(data)
            return hashlib.sha256(data).hexdigest()
        condition = None if info.version_id else {"If-Match": f'"{info.etag}"'}
        digest, got_bytes = hashlib.sha256(), 0
        with translated(what), target.open("wb") as file:
            response = self._client.get_object(
                info.bucket, info.key, version_id=info.version_id or None, request_headers=condition
            )
            try:
                # A connection that breaks before the announced length is an outage, not damage.
                for chunk in response.stream(CHUNK_BYTES, decode_content=False):
                    digest.update(chunk)
                    got_bytes += file.write(chunk)
            finally:
                response.close()
                response.release_conn()
        if got_bytes != info.size_bytes:
            raise ObjectDamaged(f"{what}: {got_bytes} bytes arrived, {info.size_bytes} were stored")
        return digest.hexdigest()

    def remove(self, bucket: str, key: str, version_id: str = "") -> None:
        """Remove a version, or what an unversioned bucket has under the key; one that is gone already is no error."""
        with suppress(ObjectGone), translated(f"{bucket}/{key}"):
            self._client.remove_object(bucket, key, version_id=version_id or None)

    def versions(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """List all versions under a prefix by key, newest first within a key, delete markers among them.

        On SeaweedFS, versions that its paging leaves out come at the end, out of this order.
        """

        def current_keys() -> list[str]:
            with translated(f"listing of {bucket}/{prefix}"):
                return [str(o.object_name) for o in self._client.list_objects(bucket, prefix, recursive=True)]

        return list_versions(self._asker(bucket, prefix), current_keys, bucket, prefix, self._page_versions)

    def versions_of(self, bucket: str, keys: Sequence[str]) -> Mapping[str, Sequence[ObjectInfo]]:
        """List all versions of several keys, in order, by few questions; leaves out what these do not answer cheaply."""
        try:
            return list_keys(self._asker(bucket, ""), bucket, keys, self._page_versions)
        except ET.ParseError:  # names of metadata that are no names of XML
            return {}

    def level(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo | Folder]:
        """List the versions right under a prefix and the folders below it."""
        return list_level(self._asker(bucket, prefix), bucket, prefix, self._page_versions)

    def _asker(self, bucket: str, prefix: str) -> Ask:
        def ask(query: Mapping[str, str]) -> Page:
            with translated(f"listing of {bucket}/{prefix}"):
                # The package's own listing puts the delete markers of a page behind all its versions, and so
                # loses their place among them; hence its signed request, but our own reading of the answer.
                answer = self._client._execute("GET", bucket, query_params=dict(query))
            server = answer.headers.get("Server", "")
            # Others than MinIO show that they keep fractions by the first one that is not zero.
            self._is_exact |= server.startswith("MinIO") or _FRACTION.search(answer.data) is not None
            root = ET.fromstring(answer.data)  # noqa: S314 - the store is ours
            return Page(root, skips_keys=server.startswith("SeaweedFS"), is_exact=self._is_exact)

        return ask


def open_s3(settings: Settings) -> S3:
    """Return the object store that the settings name; nothing is connected yet."""
    return S3(
        settings.s3_endpoint,
        settings.s3_access_key.get_secret_value(),
        settings.s3_secret_key.get_secret_value(),
        secure=settings.s3_secure,
    )
