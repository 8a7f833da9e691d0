"""After the commit: tell gold, and write the change set to the lake. Both may be repeated, and the sweep sees to it.

Neither the broker nor the store is waited for while more small files are to be merged: what is under way is settled before
their messages are acknowledged.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from services.silver import lake
from services.silver.job import ObjectVersion
from services.silver.load import Merged
from shared.announce import announce
from shared.catalog import Catalog
from shared.errors import Unavailable
from shared.events import SilverChange, silver_ready
from shared.failpoints import hit
from shared.ports import EventBus, ObjectStore, Session
from shared.session import UNSYNCED
from shared.settings import SILVER_BUCKET, SILVER_READY

WRITTEN_BESIDE_ROWS_MAX = 10_000  # rows of which a change file is written beside the next merge
SMALL_ROWS_MAX = 200  # rows of which a change file is written as a small one
OWN_EXPORT_SECONDS_MAX = 120.0  # after the commit, in which a worker that lives writes the change file itself
THREADS = 1  # it waits for the store's disk; small files are not merged faster than it stores theirs


@dataclass
class Sending:
    """A change set on its way to gold and to the lake."""

    change_set_id: uuid.UUID
    dataset: str
    object_id: uuid.UUID
    event: bytes  # for gold
    path: Path
    is_announced: bool = False
    write: Callable[[], object] = lambda: None  # its change file, unless that is written already
    export: Future[None] | None = None


class Announcer:
    """The way of committed change sets to gold and to the silver-layer bucket."""

    def __init__(
        self,
        store: ObjectStore,
        bus: EventBus,
        catalog: Catalog,
        scratch: Path,
        worker_id: str,
        silence_seconds: float,
    ) -> None:
        self._store, self._bus, self._catalog, self._scratch = store, bus, catalog, scratch
        self._worker_id, self._silence_seconds = worker_id, silence_seconds
        self._pool = ThreadPoolExecutor(THREADS, "export")
        self._sending: dict[uuid.UUID, Sending] = {}
        self._failures: list[tuple[Sending, Exception]] = []

    def announce(self, session: Session, obj: ObjectVersion, merged: Merged) -> None:
        """Begin to tell gold and to write the change set to the lake; both are repeated by the sweep if this worker dies."""
        for ref in merged.freed:
            announce(session, self._bus, ref)
        if merged.change_set_id is None:
            return
        sending = self._new(merged.change_set_id, obj.dataset, obj.object_id, merged.job.state.now)
        schema = lake.lake_schema(merged.job.dataset, merged.job.evolved)
        batches = lake.change_batches(merged.job, schema)
        good = merged.job.file.good
        if good.rows <= WRITTEN_BESIDE_ROWS_MAX and good.is_in_memory:
            options = lake.SMALL if good.rows <= SMALL_ROWS_MAX else lake.LARGE
            sending.write = partial(lake.write_change_file, schema, list(batches), sending.path, options)
        else:
            self._publish(session)
            lake.write_change_file(schema, batches, sending.path)
        self._begin_export(sending)

    def repeat(self, session: Session, object_ids: Sequence[uuid.UUID]) -> None:
        """Begin again with finished objects whose worker died between commit and publishing.

        Their Parquet files are written from the rows that still are the objects'; removals are not known any more. So a
        young one of a worker that lives is left to it: it is about to write the better one.
        """
        if not object_ids:
            return
        outstanding = session.rows(
            """
            SELECT c.change_set_id, c.dataset, c.object_id, c.announced_at IS NOT NULL, c.created_at, EXISTS (
                SELECT FROM bronze.ingestion_metadata o JOIN bronze.workers w USING (worker_id)
                WHERE o.object_id = c.object_id AND w.worker_id <> %s AND w.stopped_at IS NULL
                  AND w.heartbeat_at > clock_timestamp() - make_interval(secs => %s)
                  AND c.created_at > clock_timestamp() - make_interval(secs => %s))
            FROM silver.change_sets c
            WHERE c.object_id = ANY(%s) AND (c.announced_at IS NULL OR c.exported_at IS NULL)
            """,
            (self._worker_id, self._silence_seconds, OWN_EXPORT_SECONDS_MAX, list(object_ids)),
        )
        session.commit()
        for change_set_id, dataset, object_id, is_announced, created_at, is_others in outstanding:
            if (known := self._sending.get(change_set_id)) and known.export:
                continue  # by this very worker; its file says more
            if is_others and is_announced:
                continue
            sending = self._new(change_set_id, dataset, object_id, created_at)
            sending.is_announced = is_announced
            if is_others:
                continue
            try:
                lake.write_current_rows(session, self._catalog[dataset], object_id, sending.path)
                self._begin_export(sending)
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - told by the caller
                session.rollback()
                self._failures.append((sending, error))

    def settle(self, session: Session) -> list[tuple[Sending, Exception]]:
        """Tell gold, wait until the lake has what was merged, note both and commit; return what met an unforeseen error.

        Raises Unavailable: what is still to be done is done by the next call.
        """
        self._publish(session)
        exported = []
        for sending in [one for one in self._sending.values() if one.export]:
            with self._watching(sending):
                self._await_export(sending)
                hit("silver.exported")
                exported.append(sending.change_set_id)
        _note(session, "exported_at", exported)
        for sending in list(self._sending.values()):
            with self._watching(sending):
                hit("silver.announced")
            self._forget(sending)
        failures, self._failures = self._failures, []
        return failures

    def close(self) -> None:
        """Begin nothing more, so that the process can end; what is not exported the sweep sees to."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _publish(self, session: Session) -> None:
        """Tell gold of all that it was not told of yet; note it and commit."""
        unsaid = [one for one in self._sending.values() if not one.is_announced]
        if not unsaid:
            return
        with self._watching(*unsaid):
            self._bus.publish_all(SILVER_READY, [(one.dataset, one.event) for one in unsaid])
            hit("silver.published")
        said = [one for one in unsaid if one.change_set_id in self._sending]
        _note(session, "announced_at", [one.change_set_id for one in said])
        for one in said:
            one.is_announced = True

    @contextmanager
    def _watching(self, *sendings: Sending) -> Iterator[None]:
        """Give change sets up that meet an error which is no server's; the sweep repeats what is missing."""
        try:
            yield
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - told by the caller
            for sending in sendings:
                self._failures.append((sending, error))
                self._forget(sending)

    def _new(self, change_set_id: uuid.UUID, dataset: str, object_id: uuid.UUID, at: datetime) -> Sending:
        change = SilverChange(dataset=dataset, change_set_id=str(change_set_id), object_id=str(object_id))
        self._scratch.mkdir(parents=True, exist_ok=True)
        path = self._scratch / f"{change_set_id}.parquet"
        sending = Sending(change_set_id, dataset, object_id, silver_ready(change, at), path)
        self._sending[change_set_id] = sending
        return sending

    def _begin_export(self, sending: Sending) -> None:
        sending.export = self._pool.submit(self._export, sending)

    def _await_export(self, sending: Sending) -> None:
        assert sending.export is not None
        try:
            sending.export.result()
        except Unavailable:
            for one in self._sending.values():
                if one.export and one.export.done() and isinstance(one.export.exception(), Unavailable):
                    self._begin_export(one)
            raise

    def _export(self, sending: Sending) -> None:
        sending.write()
        key = lake.change_key(sending.dataset, sending.change_set_id)
        self._store.upload(SILVER_BUCKET, key, sending.path, {"change-set-id": str(sending.change_set_id)})

    def _forget(self, sending: Sending) -> None:
        self._sending.pop(sending.change_set_id, None)
        sending.path.unlink(missing_ok=True)


def _note(session: Session, column: str, change_set_ids: list[uuid.UUID]) -> None:
    if change_set_ids:
        session.execute(
            UNSYNCED + f"UPDATE silver.change_sets SET {column} = clock_timestamp() WHERE change_set_id = ANY(%s)",
            (change_set_ids,),
        )
        session.commit()
