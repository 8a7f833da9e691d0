"""The ingestor's sentence: fetch → fingerprint → land → register → announce.

A crash between any two steps is healed: what was fetched is fetched again, what was landed is found by the
sweep, what was registered is announced again.
"""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from services.ingestor import sweep
from services.ingestor.local import fetch_file
from services.ingestor.polls import Outcome, Poll, previous_poll, record_poll
from services.ingestor.sources import (
    Fetched,
    NotModified,
    Previous,
    SourceFailed,
    conditions,
    file_name,
    folder_files,
    is_folder,
    is_unchanged,
    is_web,
    local_path,
)
from services.ingestor.web import Request, fetch_web
from shared.announce import announce
from shared.catalog import Catalog
from shared.dataset import Dataset, Source
from shared.errors import ConfigurationError, Unavailable
from shared.events import ObjectRef
from shared.failpoints import hit
from shared.landing import Landing, database_now, land
from shared.ledger import Discovery, Registration, register, register_known
from shared.ports import EventBus, ObjectInfo, ObjectStore, Session, Warehouse
from shared.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PollResult:
    """What one poll of a dataset's source came to."""

    dataset: str
    outcome: Outcome
    object_keys: Sequence[str] = ()
    size_bytes: int = 0  # of what was landed
    error_message: str | None = None


@dataclass(frozen=True)
class Ingestor:
    """The ingestor's tools, and what it can do with them; safe to share between threads."""

    settings: Settings
    catalog: Catalog
    warehouse: Warehouse
    store: ObjectStore
    bus: EventBus

    def poll_once(self, dataset: Dataset) -> PollResult:
        """Fetch a dataset's source if it changed, land, register and announce it.

        A source that cannot be fetched is a result; raises Unavailable when database or store are away.
        """
        source = _source(dataset)
        if is_folder(source.url):
            return self._poll_folder(dataset, source)
        return self._poll_file(dataset, source, source.url)

    @cached_property
    def _sweeper(self) -> sweep.Sweeper:
        return sweep.Sweeper(self.settings, self.catalog, self.warehouse, self.store, self.bus)

    def sweep_once(self) -> sweep.SweepResult:
        """Compare bucket and ledger, and announce what is unknown or unfinished; raises Unavailable."""
        return self._sweeper.sweep()

    def discover(self, ref: ObjectRef, discovered_by: Discovery) -> Registration | None:
        """Register and announce an object that somebody put into the bucket; raises Unavailable."""
        with self.warehouse.session("ingestor-discover") as session:
            found = register(session, self.store, self.catalog, ref, discovered_by)
            if found is not None and found.is_new and found.status == "registered":
                try_to_announce(session, self.bus, ref)
        return found

    def _poll_folder(self, dataset: Dataset, source: Source) -> PollResult:
        """Poll every file of a folder as a source of its own, in the order of their names."""
        started_at = self._now()
        try:
            files = list(folder_files(source.url))
        except SourceFailed as error:
            return self._failed(dataset, source.url, started_at, error)
        results = [self._poll_file(dataset, source, path.absolute().as_uri()) for path in files]
        landed = [result for result in results if result.outcome == "landed"]
        failed = [result for result in results if result.outcome == "failed"]
        outcome: Outcome = "failed" if failed else "landed" if landed else "unchanged"
        message = "; ".join(result.error_message or "" for result in failed) or None
        with self.warehouse.session("ingestor-poll") as session:
            poll = Poll(dataset.name, source.url, started_at, outcome, 1, error_message=message)
            record_poll(session, poll)
            session.commit()
        keys = [key for result in landed for key in result.object_keys]
        return PollResult(dataset.name, outcome, keys, sum(r.size_bytes for r in landed), message)

    def _poll_file(self, dataset: Dataset, source: Source, url: str) -> PollResult:
        with self.warehouse.session("ingestor-poll") as session:
            started_at = database_now(session)
            previous = previous_poll(session, dataset.name, url)
        with tempfile.TemporaryDirectory(prefix="medallion-poll-") as folder:
            try:
                fetched = self._fetch(dataset, url, previous, Path(folder) / "content")
            except SourceFailed as error:
                return self._failed(dataset, url, started_at, error)
            if isinstance(fetched, NotModified) or is_unchanged(fetched, previous):
                return self._unchanged(dataset, url, started_at, fetched, previous)
            return self._land(dataset, source, url, started_at, fetched)

    def _fetch(self, dataset: Dataset, url: str, previous: Previous, target: Path) -> Fetched | NotModified:
        asked = conditions(previous, self.settings.full_fetch_every_polls)
        limit = dataset.limits.file_bytes_max
        if not is_web(url):
            return fetch_file(local_path(url), asked, target, limit)
        request = Request(url, file_name(url, dataset), dataset.format.type, limit, asked)
        return fetch_web(request, self.settings, target)

    def _land(self, dataset: Dataset, source: Source, url: str, started_at: datetime, fetched: Fetched) -> PollResult:
        with self.warehouse.session("ingestor-land") as session:
            landing = Landing(dataset, fetched.path, fetched.name, source.write_disposition, url)
            info = land(session, self.store, landing)
            hit("ingestor.landed")
            # One commit for both: a poll that is on record has its object in the ledger.
            record_poll(session, _landed_poll(dataset, url, started_at, fetched, info))
            found = register_known(session, self.store, self.catalog, info, "poll")
            hit("ingestor.registered")
            if found is not None and found.is_new:
                try_to_announce(
                    session, self.bus, ObjectRef(bucket=info.bucket, key=info.key, version_id=info.version_id)
                )
            hit("ingestor.announced")
        fields = {
            "dataset": dataset.name,
            "object_key": info.key,
            "size_bytes": info.size_bytes,
            "source_url": url,
        }
        log.info("A source was landed.", extra={"action": "poll_landed", **fields})
        return PollResult(dataset.name, "landed", [info.key], info.size_bytes)

    def _unchanged(
        self,
        dataset: Dataset,
        url: str,
        started_at: datetime,
        fetched: Fetched | NotModified,
        previous: Previous,
    ) -> PollResult:
        seen = fetched if isinstance(fetched, Fetched) else previous
        poll = Poll(
            dataset.name,
            url,
            started_at,
            "unchanged",
            fetched.attempts,
            fetched.http_status,
            etag=seen.etag,
            last_modified=seen.last_modified,
            content_sha256=previous.content_sha256,
            size_bytes=fetched.size_bytes if isinstance(fetched, Fetched) else None,
        )
        self._record(poll)
        log.info(
            "A source is unchanged.",
            extra={"action": "poll_unchanged", "dataset": dataset.name, "source_url": url},
        )
        return PollResult(dataset.name, "unchanged")

    def _failed(self, dataset: Dataset, url: str, started_at: datetime, error: SourceFailed) -> PollResult:
        message = f"dataset {dataset.name}: {error}"
        self._record(
            Poll(
                dataset.name,
                url,
                started_at,
                "failed",
                error.attempts,
                error.http_status,
                error_message=message,
            )
        )
        fields = {
            "dataset": dataset.name,
            "source_url": url,
            "attempts": error.attempts,
            "reason": str(error),
        }
        log.warning("A source could not be fetched.", extra={"action": "poll_failed", **fields})
        return PollResult(dataset.name, "failed", error_message=message)

    def _record(self, poll: Poll) -> None:
        with self.warehouse.session("ingestor-poll") as session:
            record_poll(session, poll)
            session.commit()

    def _now(self) -> datetime:
        with self.warehouse.session("ingestor-poll") as session:
            return database_now(session)


def try_to_announce(session: Session, bus: EventBus, ref: ObjectRef) -> bool:
    """Send BronzeReady for an object; a broker that is away is no failure: the sweep announces it again."""
    try:
        announce(session, bus, ref)
    except Unavailable as error:
        fields = {"action": "announce_failed", "object_key": ref.key, "reason": str(error)}
        log.warning("An object could not be announced; the sweep will try again.", extra=fields)
        return False
    return True


def _source(dataset: Dataset) -> Source:
    if dataset.source is None:
        raise ConfigurationError(f"dataset {dataset.name} has no source: add `source:` to its YAML, or drop files")
    return dataset.source


def _landed_poll(dataset: Dataset, url: str, started_at: datetime, fetched: Fetched, info: ObjectInfo) -> Poll:
    return Poll(
        dataset.name,
        url,
        started_at,
        "landed",
        fetched.attempts,
        fetched.http_status,
        etag=fetched.etag,
        last_modified=fetched.last_modified,
        content_sha256=fetched.content_sha256,
        size_bytes=fetched.size_bytes,
        object_key=info.key,
    )
