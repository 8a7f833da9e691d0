"""The pipeline in a test's own hands: real PostgreSQL and object store, events kept in a list, steps called one by one."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from services.silver.service import SilverService
from shared.adapters.postgres import Postgres
from shared.adapters.s3 import open_s3
from shared.catalog import Catalog, load_catalog
from shared.errors import MedallionError
from shared.events import ObjectRef
from shared.landing import Landing, land
from shared.ledger import Registration, register, register_known
from shared.migrate import migrate
from shared.models import load_models, models_depending_on
from shared.ports import ObjectStore, Row, Session
from shared.settings import BRONZE_BUCKET, BUCKETS, Settings
from tests.invariants import broken_invariants

DAY_ZERO = datetime(2026, 1, 1, tzinfo=UTC)


class ListBus:
    """An event bus that keeps what it is given."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str, bytes]] = []

    def ensure_topics(self, partitions_by_topic: Any) -> None:
        """Topics are whatever is published to."""

    def publish_all(self, topic: str, events: Sequence[tuple[str, bytes]]) -> None:
        """Keep the events."""
        for key, value in events:
            self.publish(topic, key, value)

    def publish(self, topic: str, key: str, value: bytes) -> None:
        """Keep the event."""
        self.published.append((topic, key, value))

    def close(self) -> None:
        """Nothing to close."""


class NamedWorker:
    """A worker without a heartbeat."""

    def __init__(self, worker_id: str = "test-worker") -> None:
        self.worker_id = worker_id

    def working_on(self, object_id: uuid.UUID | None, backend_pid: int | None = None) -> None:
        """Nobody listens."""


class Pipeline:
    """Land, process and look, one step at a time."""

    def __init__(self, settings: Settings, catalog: Catalog | None = None, store: ObjectStore | None = None) -> None:
        assert settings.database_url is not None
        self.settings = settings
        self.warehouse = Postgres(settings.database_url.get_secret_value())
        self.store = store or open_s3(settings)
        for bucket in BUCKETS:
            self.store.ensure_bucket(bucket, versioned=bucket == BRONZE_BUCKET)
        self.catalog = catalog or load_catalog(settings.dataset_dir)
        self.models = load_models(settings.sql_dir)
        self.bus = ListBus()
        self.session: Session = self.warehouse.connect("test")
        self.silver = self.worker("test-worker")

    def worker(self, worker_id: str, settings: Settings | None = None) -> SilverService:
        """Return a silver worker on the same servers."""
        return SilverService(
            self.warehouse, self.store, self.bus, self.catalog, settings or self.settings, NamedWorker(worker_id),
            lambda dataset: models_depending_on(self.models, dataset),
        )  # fmt: skip

    def migrate(self) -> None:
        """Create what the catalog and the models need."""
        migrate(self.session, self.settings.sql_dir, self.catalog, self.models)

    def close(self) -> None:
        """Give the session back."""
        self.session.rollback()
        self.session.close()

    def land(
        self,
        dataset: str,
        content: bytes | Path,
        disposition: str = "replace",
        day: float = 0,
        name: str = "file",
    ) -> uuid.UUID:
        """Land a file `day` days after DAY_ZERO and register it; return its object id."""
        path = content if isinstance(content, Path) else self._written(content)
        landing = Landing(
            self.catalog[dataset], path, path.name if isinstance(content, Path) else name,
            disposition, "", DAY_ZERO + timedelta(days=day),  # type: ignore[arg-type]
        )  # fmt: skip
        info = land(self.session, self.store, landing)
        described = self.store.stat(info.bucket, info.key, info.version_id)
        found = register_known(self.session, self.store, self.catalog, described, "cli")
        assert found is not None
        return found.object_id

    def drop(self, key: str, content: bytes) -> Registration:
        """Put an object as any S3 client would, and register it as an event would."""
        info = self.store.put_bytes(BRONZE_BUCKET, key, content, {})
        found = register(
            self.session, self.store, self.catalog,
            ObjectRef(bucket=BRONZE_BUCKET, key=key, version_id=info.version_id), "event",
        )  # fmt: skip
        assert found is not None
        return found

    def _written(self, content: bytes) -> Path:
        path = self.settings.data_dir / f"landing-{uuid.uuid4()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def handle(self, *messages: bytes) -> None:
        """Let silver handle messages that wait together."""
        handled = 0
        while handled < len(messages):
            handled += self.silver.handle(messages[handled:])

    def process(self, *object_ids: uuid.UUID) -> list[str | None]:
        """Take objects through silver in the given order; return their statuses."""
        statuses = [self.silver.process(self.session, object_id) for object_id in object_ids]
        letters = self.rows("SELECT reason, traceback FROM bronze.dead_letters")
        if letters:
            raise MedallionError(f"an object met a bug: {letters[-1][1]}")
        return statuses

    def process_again(self, object_id: uuid.UUID) -> None:
        """Run a finished object again, as a backfill does."""
        self.session.execute(
            "UPDATE bronze.ingestion_metadata SET status = 'registered', request = 'backfill', epoch = epoch + 1"
            " WHERE object_id = %s AND status IN ('done', 'superseded')",
            (object_id,),
        )
        self.session.commit()
        self.process(object_id)

    def load(self, dataset: str, content: bytes | Path, disposition: str = "replace", day: float = 0) -> dict[str, Any]:
        """Land and process one file; return its row of the ledger."""
        object_id = self.land(dataset, content, disposition, day)
        self.process(object_id)
        return self.ledger(object_id)

    def rows(self, sql: str, params: Sequence[Any] | None = None) -> list[Row]:
        """Run a query in a transaction of its own."""
        found = self.session.rows(sql, params)
        self.session.commit()
        return found

    def ledger(self, object_id: uuid.UUID) -> dict[str, Any]:
        """Return an object's row of the ledger."""
        text = self.rows("SELECT row_to_json(m) FROM bronze.ingestion_metadata m WHERE object_id = %s", (object_id,))[
            0
        ][0]
        row: dict[str, Any] = text
        return row

    def assert_invariants(self) -> None:
        """Hold the ledger's arithmetic for every finished object, and lineage for every live row."""
        assert broken_invariants(self.session, self.catalog) == []

    def reset(self) -> None:
        """Forget everything but the tables; for tests that run many short histories."""
        tables = [d.raw_table for d in self.catalog.datasets.values()]
        tables += [d.clean_table for d in self.catalog.datasets.values()]
        self.session.execute(
            "TRUNCATE bronze.ingestion_metadata, bronze.processing_runs, bronze.deaths, silver.datasets, silver.key_facts,"
            " silver.change_sets, gold.pending, silver.quarantine, silver.orphans, silver.data_quality_logs,"
            f" {', '.join(tables)}"
        )
        self.session.commit()
