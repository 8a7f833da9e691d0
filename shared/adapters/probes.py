"""One cheap question to each server, to learn whether it is there."""

from collections.abc import Mapping
from contextlib import ExitStack

from shared.adapters.kafka import KafkaBus
from shared.health import Check
from shared.ports import ObjectStore, Session, Warehouse
from shared.settings import BRONZE_BUCKET, BRONZE_READY, Settings

POSTGRESQL, OBJECT_STORE, KAFKA = "PostgreSQL", "object store", "Kafka"
_NO_KEY = ".nothing/"  # a prefix that no dataset has: the listing is one empty page


def server_checks(settings: Settings, warehouse: Warehouse, store: ObjectStore) -> Mapping[str, Check]:
    """Return a check for each server, with connections of its own; each is to be called by one thread."""
    bus = KafkaBus(settings.kafka_bootstrap_servers)
    return {
        POSTGRESQL: _Database(warehouse),
        OBJECT_STORE: lambda: next(iter(store.versions(BRONZE_BUCKET, _NO_KEY)), None),
        KAFKA: lambda: bus.topic_identity(BRONZE_READY),
    }


class _Database:
    """A session kept from one check to the next: opening one starts a process on the server."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._stack = ExitStack()
        self._session: Session | None = None

    def __call__(self) -> None:
        try:
            if self._session is None:
                self._session = self._stack.enter_context(self._warehouse.session("health"))
            self._session.rows("SELECT 1")
            self._session.commit()
        except BaseException:
            self._session = None
            self._stack.close()
            raise
