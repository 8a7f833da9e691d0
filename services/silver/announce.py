"""After the commit: tell gold, and write the change set to the lake. Both may be repeated, and the sweep sees to it."""

import uuid
from pathlib import Path

from services.silver import lake
from services.silver.job import ObjectVersion
from services.silver.load import Merged
from shared.announce import announce
from shared.catalog import Catalog
from shared.events import SilverChange, silver_ready
from shared.failpoints import hit
from shared.landing import database_now
from shared.ports import EventBus, ObjectStore, Session
from shared.session import UNSYNCED
from shared.settings import SILVER_BUCKET, SILVER_READY


class Announcer:
    """The way of a committed change set to gold and to the silver-layer bucket."""

    def __init__(self, store: ObjectStore, bus: EventBus, catalog: Catalog, scratch: Path) -> None:
        self._store, self._bus, self._catalog, self._scratch = store, bus, catalog, scratch

    def announce(self, session: Session, obj: ObjectVersion, merged: Merged) -> None:
        """Tell gold, then write the change set to the lake; both are repeated by the sweep if this worker dies here."""
        for ref in merged.freed:
            announce(session, self._bus, ref)
        if merged.change_set_id is None:
            return
        self._publish(session, merged.change_set_id, obj.dataset, obj.object_id)
        hit("silver.published")
        path = self._scratch / f"{merged.change_set_id}.parquet"
        try:
            lake.write_change_file(merged.job, path)
            self._export(session, merged.change_set_id, obj.dataset, path)
        finally:
            path.unlink(missing_ok=True)

    def _publish(self, session: Session, change_set_id: uuid.UUID, dataset: str, object_id: uuid.UUID | None) -> None:
        change = SilverChange(
            dataset=dataset, change_set_id=str(change_set_id), object_id=str(object_id) if object_id else None
        )
        self._bus.publish(SILVER_READY, dataset, silver_ready(change, database_now(session)))
        session.execute(
            UNSYNCED + "UPDATE silver.change_sets SET announced_at = clock_timestamp() WHERE change_set_id = %s",
            (change_set_id,),
        )
        session.commit()

    def _export(self, session: Session, change_set_id: uuid.UUID, dataset: str, path: Path) -> None:
        key = lake.change_key(dataset, change_set_id)
        self._store.upload(SILVER_BUCKET, key, path, {"change-set-id": str(change_set_id)})
        hit("silver.exported")
        session.execute(
            UNSYNCED + "UPDATE silver.change_sets SET exported_at = clock_timestamp() WHERE change_set_id = %s",
            (change_set_id,),
        )
        session.commit()

    def repeat(self, session: Session, object_id: uuid.UUID) -> None:
        """Repeat the announcement of a finished object whose worker died between commit and publishing.

        Its Parquet file is written from the rows that still are the object's; removals are not known any more.
        """
        outstanding = session.rows(
            """
            SELECT change_set_id, dataset, announced_at IS NULL FROM silver.change_sets
            WHERE object_id = %s AND (announced_at IS NULL OR exported_at IS NULL)
            """,
            (object_id,),
        )
        session.commit()
        for change_set_id, dataset, is_unannounced in outstanding:
            if is_unannounced:
                self._publish(session, change_set_id, dataset, object_id)
            path = self._scratch / f"{change_set_id}.parquet"
            self._scratch.mkdir(parents=True, exist_ok=True)
            try:
                lake.write_current_rows(session, self._catalog[dataset], object_id, path)
                self._export(session, change_set_id, dataset, path)
            finally:
                path.unlink(missing_ok=True)
