"""What is done at once for all messages that wait, and beside the merging of those before: registering, fetching, reading.

Nothing depends on it: what is not found here is done when the object's turn comes, and so is what failed here.
"""

import logging
import uuid
from collections.abc import Iterable, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Lock

from services.silver.batchsql import BatchSql
from services.silver.deaths import may_follow_a_death
from services.silver.job import FileRead, ObjectVersion, Stored
from services.silver.load import read_object
from services.silver.state import waiting_snapshots
from shared.catalog import Catalog
from shared.dataset import Dataset
from shared.described import Described, ListedTogether, describe
from shared.errors import Unavailable, UndecodableEvent
from shared.events import ObjectRef, read_bronze_ready
from shared.ledger import Registration, enter, known
from shared.ports import ObjectStore, Session
from shared.settings import BRONZE_BUCKET, Settings

log = logging.getLogger("silver")

THREADS = 2  # for describing, and for fetching: they wait for the store; more of them only wait for each other
READ_BYTES_MAX = 1 << 20  # of files that are read ahead; a larger one takes long enough to be worth its turn
AHEAD_BYTES_MAX = 16 << 20  # of all that are read and not yet merged, as they are stored
HELD_BYTES_MAX = 64 << 20  # of the rows that wait in memory, beyond which no other file is begun
ANSWER_SECONDS_MAX = 10.0  # for a description; then the store is asked again, and says what is wrong
# A file that kills its worker is told by its claims, and what is read ahead is not claimed. So a worker that follows a death
# begins without reading ahead, for as many messages as may have waited then: each file has its own attempt.
CAREFUL_MESSAGES = 192
ENTER_MIN = 4  # described objects that are entered into the ledger together before it is the turn of one of them


class NoRoom(Exception):
    """So many rows wait to be merged that no more are read."""


class Ahead:
    """What is known of the objects that waiting messages speak of, and the small files among them, fetched and checked."""

    def __init__(self, store: ObjectStore, catalog: Catalog, settings: Settings, scratch: Path, worker_id: str) -> None:
        self._store, self._catalog, self._settings, self._scratch = store, catalog, settings, scratch
        self._describer, self._fetcher = ThreadPoolExecutor(THREADS, "describe"), ThreadPoolExecutor(THREADS, "fetch")
        self._reader, self._sql = ThreadPoolExecutor(1, "read"), BatchSql()
        self._numbers, self._dealt_with = count(), 0
        self._worker_id, self._is_careful = worker_id, True
        self._held_bytes, self._counting = 0, Lock()
        self._found: dict[ObjectRef, Registration] = {}
        self._asked: dict[ObjectRef, Future[Described | None]] = {}
        self._coming: dict[uuid.UUID, _Coming] = {}
        self._snapshots: Set[str] | None = None  # datasets of which some wait; None: not asked

    def look(self, session: Session, messages: Sequence[bytes]) -> None:
        """Find out what the ledger knows of what several messages announce, and begin to ask the store for the rest.

        Raises Unavailable; whatever else goes wrong comes up again where the message's turn is.
        """
        try:
            self._look(session, refs_of(messages) if len(messages) > 1 else ())
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one odd message must not hide the others
            session.rollback()
            self._found, self._snapshots = {}, None
            fields = {"action": "not_looked_ahead", "reason": str(error)}
            log.warning("Waiting messages could not be looked at together; now one by one.", extra=fields)

    def _look(self, session: Session, refs: Sequence[ObjectRef]) -> None:
        if self._is_careful and refs:
            is_new = self._dealt_with < CAREFUL_MESSAGES
            self._is_careful = is_new and may_follow_a_death(session, self._worker_id)
        self._found, self._snapshots = dict(known(session, refs)), None
        if refs:
            declared = [self._catalog.for_key(ref.key) for ref in refs]
            self._snapshots = waiting_snapshots(session, {one.name for one in declared if one})
        unknown = [ref for ref in refs if ref not in self._found]
        for ref in self._asked.keys() - set(unknown):
            self._asked.pop(ref).cancel()
        new = [ref for ref in unknown if ref not in self._asked]
        listed = ListedTogether(self._store, new)
        for ref in new:
            self._asked[ref] = self._describer.submit(describe, self._store, ref, listed)
        for object_id in self._coming.keys() - {one.object_id for one in self._found.values()}:
            self._coming.pop(object_id).forget()
        self._begin(self._found.values())

    def found(self, session: Session, ref: ObjectRef) -> Registration | None:
        """Return what the ledger says of an object, entered into it with others; None when that is not known here."""
        is_asked = ref in self._asked
        if is_asked:
            wait([self._asked[ref]], ANSWER_SECONDS_MAX)
        if is_asked or sum(asked.done() for asked in self._asked.values()) >= ENTER_MIN:
            self._enter(session)
        return self._found.pop(ref, None)

    def dealt_with(self, messages: int) -> None:
        """Note that so many more messages were dealt with."""
        self._dealt_with += messages

    def may_have_snapshots(self, dataset: str | None) -> bool:
        """Say whether snapshots of a dataset may wait to be read."""
        return self._snapshots is None or dataset in self._snapshots

    def read(self, obj: ObjectVersion) -> AbstractContextManager[FileRead] | None:
        """Return the object as `read_object` does; None where it was not read ahead, or met something on the way."""
        coming = self._coming.pop(obj.object_id, None)
        if coming is None:
            return None
        if obj.request is not None:
            coming.forget()
            return None
        try:
            return coming.reading.result()
        except Exception as error:  # noqa: BLE001 - it is met again where its consequences are drawn
            log.debug("A file is read again in its turn.", extra={"action": "not_read_ahead", "reason": str(error)})
            coming.forget()
            return None

    def give_up(self) -> None:
        """Forget what is not done yet: a server is away."""
        for asked in self._asked.values():
            asked.cancel()
        self._asked.clear()
        while self._coming:
            self._coming.popitem()[1].forget()

    def close(self) -> None:
        """Begin nothing more, so that the process can end."""
        self.give_up()
        for pool in (self._describer, self._fetcher, self._reader):
            pool.shutdown(wait=False, cancel_futures=True)

    def _enter(self, session: Session) -> None:
        """Enter what the store has described by now, and begin to read it.

        Raises Unavailable; whatever else went wrong comes up again where the object's turn is.
        """
        answered = [(ref, asked) for ref, asked in self._asked.items() if asked.done()]
        for ref, _ in answered:
            del self._asked[ref]
        described = {ref: one for ref, asked in answered if not asked.exception() and (one := asked.result())}
        try:
            entered = enter(session, self._catalog, list(described.values()), "event")
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one odd object must not hide the others: each is entered alone
            session.rollback()
            fields = {"action": "not_entered_ahead", "reason": str(error)}
            log.warning("Waiting objects could not be entered together; now one by one.", extra=fields)
            return
        self._found.update(zip(described, entered, strict=True))
        self._begin(entered)

    def _begin(self, registrations: Iterable[Registration]) -> None:
        """Begin to fetch and read those that are small files waiting to be merged."""
        if self._is_careful:
            return
        room_bytes = AHEAD_BYTES_MAX - sum(coming.size_bytes for coming in self._coming.values())
        for one in registrations:
            dataset = self._catalog.datasets.get(one.dataset or "")
            if dataset is None or one.status != "registered" or one.write_disposition == "replace":
                continue
            if one.info.size_bytes > min(READ_BYTES_MAX, room_bytes) or one.object_id in self._coming:
                continue
            room_bytes -= one.info.size_bytes
            self._coming[one.object_id] = self._begun(dataset, one)

    def _begun(self, dataset: Dataset, one: Registration) -> "_Coming":
        self._scratch.mkdir(parents=True, exist_ok=True)
        path = self._scratch / f"ahead-{next(self._numbers)}"
        fetching = self._fetcher.submit(self._store.fetch, one.info, path)
        stored = Stored(one.info, one.content_sha256)
        reading = self._reader.submit(self._read, dataset, stored, path, fetching)
        return _Coming(path, one.info.size_bytes, fetching, reading)

    def _read(self, dataset: Dataset, stored: Stored, path: Path, fetching: Future[str]) -> "_Read":
        if self._held_bytes > HELD_BYTES_MAX:
            raise NoRoom
        with ExitStack() as stack:
            read = read_object(lambda *_: fetching.result(), dataset, stored, path, self._settings, self._sql)
            file = stack.enter_context(read)
            self._hold(file.good.memory_bytes + file.bad.memory_bytes, stack)
            return _Read(file, stack.pop_all())

    def _hold(self, held_bytes: int, stack: ExitStack) -> None:
        """Count what a file's rows hold of the memory until they are needed no more."""

        def let_go() -> None:
            with self._counting:
                self._held_bytes -= held_bytes

        with self._counting:
            self._held_bytes += held_bytes
        stack.callback(let_go)


class _Read(AbstractContextManager[FileRead]):
    """A file that was read, as a with-block that leaves nothing behind."""

    def __init__(self, file: FileRead, stack: ExitStack) -> None:
        self._file, self._stack = file, stack

    def __enter__(self) -> FileRead:
        return self._file

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@dataclass(frozen=True)
class _Coming:
    """A file on its way."""

    path: Path
    size_bytes: int
    fetching: Future[str]
    reading: Future[_Read]

    def forget(self) -> None:
        """Leave nothing behind, now or as soon as what is under way has ended."""
        self.fetching.cancel()
        self.reading.cancel()
        self.reading.add_done_callback(_close)
        self.fetching.add_done_callback(lambda _: self.path.unlink(missing_ok=True))


def _close(reading: Future[_Read]) -> None:
    if not reading.cancelled() and reading.exception() is None:
        with reading.result():
            pass


def refs_of(messages: Sequence[bytes]) -> Sequence[ObjectRef]:
    """Return the versions that messages announce, each once, of those that can be read."""
    refs: dict[ObjectRef, None] = {}
    for raw in messages:
        with suppress(UndecodableEvent):
            refs.update(dict.fromkeys(read_bronze_ready(raw)))
    return [ref for ref in refs if ref.bucket == BRONZE_BUCKET and ref.version_id and not ref.is_removal]
