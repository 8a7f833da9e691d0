"""External servers made as if nobody had used them: no topics, no groups, empty buckets, a database of one's own."""

import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

import psycopg2
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from minio.deleteobjects import DeleteObject
from minio.notificationconfig import NotificationConfig
from pydantic import SecretStr

from shared.adapters.kafka import BOOTSTRAP_TIMEOUT_MS, TIMEOUT_MS, topics
from shared.adapters.s3 import S3, open_s3
from shared.errors import ConfigurationError, Unavailable
from shared.settings import BUCKETS, Settings

# A bucket that says: what is on these servers are tests, and they may empty everything.
MARKER_BUCKET = "medallion-tests"
FORGET_SECONDS_MAX = 60.0
GROUPS = ("silver", "medallion-gold")


def claim_for_tests(settings: Settings) -> None:
    """Mark servers as the tests' own; raises ConfigurationError where somebody's data lies in the buckets."""
    store = open_s3(settings)
    if store._client.bucket_exists(MARKER_BUCKET):
        return
    for bucket in BUCKETS:
        if store._client.bucket_exists(bucket) and next(store.versions(bucket), None) is not None:
            raise ConfigurationError(
                f"{bucket} on {settings.s3_endpoint} holds data, and tests would remove it; name servers for tests alone, "
                f"or make a bucket called {MARKER_BUCKET} there to say that everything may go"
            )
    store.ensure_bucket(MARKER_BUCKET, versioned=False)


def empty(settings: Settings) -> None:
    """Remove what earlier tests left in topics, groups and buckets."""
    store = open_s3(settings)
    for bucket in BUCKETS:
        _empty_bucket(store, bucket)
    forget_topics(settings, topics(settings), GROUPS)


def _empty_bucket(store: S3, bucket: str) -> None:
    client = store._client
    if not client.bucket_exists(bucket):
        return
    client.set_bucket_notification(bucket, NotificationConfig())  # before the objects: nobody wants to hear of those
    doomed = (DeleteObject(info.key, info.version_id or None) for info in store.versions(bucket))
    failed = list(client.remove_objects(bucket, doomed))
    if failed:
        raise Unavailable(
            "object store", f"{len(failed)} objects of {bucket} cannot be removed, as {failed[0].message}"
        )


def forget_topics(settings: Settings, topics: Collection[str], groups: Collection[str] = ()) -> None:
    """Delete topics and consumer groups, which the broker does when it comes to it; wait for that."""
    admin = KafkaAdminClient(
        bootstrap_servers=settings.kafka_bootstrap_servers.split(","),
        bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS, request_timeout_ms=TIMEOUT_MS,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + FORGET_SECONDS_MAX
        while True:
            left = sorted(set(topics) & set(admin.list_topics()))
            known = sorted(set(groups) & {str(one["group_id"]) for one in admin.list_groups()})
            if not left and not known:
                return
            if time.monotonic() > deadline:
                raise Unavailable("Kafka", f"it does not forget {[*left, *known]}; is a consumer still running?")
            # A group whose consumer was killed has members until their sessions end.
            with suppress(KafkaError):
                admin.delete_groups(known)
            with suppress(KafkaError):
                admin.delete_topics(left, timeout_ms=TIMEOUT_MS)
            time.sleep(0.2)
    finally:
        admin.close()


@contextmanager
def own_database(settings: Settings) -> Iterator[Settings]:
    """Yield the settings with a new database on the server that they name; it is dropped afterwards."""
    assert settings.database_url is not None
    server = settings.database_url.get_secret_value()
    name = f"tests_{uuid.uuid4().hex[:12]}"
    _administer(server, f"CREATE DATABASE {name}")
    try:
        yield settings.model_copy(update={"database_url": SecretStr(f"{server.rpartition('/')[0]}/{name}")})
    finally:
        _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def _administer(server: str, statement: str) -> None:
    connection = psycopg2.connect(server)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
