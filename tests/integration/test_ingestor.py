"""The ingestor on the real servers, with an HTTP source that behaves as badly as sources do."""

import gzip
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg2
import pytest

from services.ingestor import sweep
from services.ingestor.schedule import Loop
from services.ingestor.service import Ingestor
from services.ingestor.webhook import Receiver, Webhook
from services.stack import Stack
from shared.adapters.kafka import KafkaBus, tail, topics
from shared.adapters.postgres import Postgres
from shared.adapters.s3 import S3, open_s3
from shared.catalog import Catalog
from shared.dataset import Dataset
from shared.described import LANDED_AT, WRITE_DISPOSITION, Described, ListedTogether, describe
from shared.events import ObjectRef, read_bronze_ready
from shared.ports import ObjectStore
from shared.settings import BRONZE_BUCKET, BRONZE_READY, Settings, data_file_root

CSV = b"id,name\n1,one\n2,two\n"


class Source:
    """A web server on loopback that answers with what its script says, one reply a request."""

    def __init__(self) -> None:
        self.replies: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.requests: list[dict[str, str]] = []
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source.requests.append({name.lower(): value for name, value in self.headers.items()})
                source.replies.pop(0)(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/data/items.csv"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def reply(
    status: int, body: bytes = b"", *, length: int | None = None, **headers: str
) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Send a byte now and then, for ever."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.05)


def chunked(body: bytes, *, is_cut: bool) -> Callable[[BaseHTTPRequestHandler], None]:
    """Send a body of unannounced length in one chunk, with the chunk that ends it or without."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(body), body) + (b"" if is_cut else b"0\r\n\r\n"))

    return answer


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    yield source
    source.close()


@pytest.fixture
def settings(stack: Stack) -> Settings:
    return stack.settings.model_copy(
        update={
            "http_attempts_max": 3,
            "http_total_timeout_seconds": 1.0,
            "http_backoff_max_seconds": 2.0,
            "full_fetch_every_polls": 4,
            "reannounce_after_seconds": 0.2,
        }
    )


@pytest.fixture
def warehouse(stack: Stack) -> Iterator[Postgres]:
    """A database of the test's own, with the platform's tables."""
    assert stack.settings.database_url is not None
    url, name = stack.settings.database_url.get_secret_value(), f"ingestor_{uuid.uuid4().hex[:12]}"
    admin = psycopg2.connect(url)
    admin.autocommit = True
    admin.cursor().execute(f"CREATE DATABASE {name}")
    warehouse = Postgres(psycopg2.extensions.make_dsn(url, dbname=name))
    with warehouse.session("test") as session:
        for path in sorted((data_file_root("sql") / "migrations").glob("*.sql")):
            session.execute(path.read_text(encoding="utf-8"))
        session.commit()
    yield warehouse
    admin.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")
    admin.close()


@pytest.fixture
def store(settings: Settings) -> S3:
    """The store with a bronze bucket that has nothing in it."""
    store = open_s3(settings)
    store.ensure_bucket(BRONZE_BUCKET, versioned=True)
    for info in list(store.versions(BRONZE_BUCKET)):
        store._client.remove_object(BRONZE_BUCKET, info.key, version_id=info.version_id)
    return store


@pytest.fixture
def dataset(source: Source) -> Dataset:
    return dataset_from(source.url)


def dataset_from(url: str) -> Dataset:
    return Dataset.model_validate(
        {
            "dataset": f"items_{uuid.uuid4().hex[:8]}",
            "source": {"url": url, "poll_interval_seconds": 60},
            "format": {"type": "csv"},
            "columns": [{"name": "id", "type": "integer"}, {"name": "name", "type": "text"}],
            "primary_key": ["id"],
        }
    )


@pytest.fixture
def ingestor(settings: Settings, warehouse: Postgres, store: S3, dataset: Dataset) -> Iterator[Ingestor]:
    bus = KafkaBus(settings.kafka_bootstrap_servers)
    bus.ensure_topics(topics(settings))
    yield Ingestor(settings, Catalog({dataset.name: dataset}), warehouse, store, bus)
    bus.close()


def announced(ingestor: Ingestor, prefix: str) -> list[ObjectRef]:
    servers = ingestor.settings.kafka_bootstrap_servers
    found = tail(servers, BRONZE_READY, from_start=True, idle_seconds=0.5)
    refs = [ref for message in found for ref in read_bronze_ready(message.value)]
    return [ref for ref in refs if ref.key.startswith(f"{prefix}/")]


def polls(ingestor: Ingestor) -> list[tuple[object, ...]]:
    with ingestor.warehouse.session("test") as session:
        return session.rows("SELECT outcome, http_status, attempts FROM bronze.polls ORDER BY poll_id")


def ledger(ingestor: Ingestor) -> list[tuple[object, ...]]:
    with ingestor.warehouse.session("test") as session:
        return session.rows("SELECT object_key, status, discovered_by FROM bronze.ingestion_metadata ORDER BY version")


def test_a_poll_lands_registers_and_announces_the_whole_file(
    ingestor: Ingestor, source: Source, dataset: Dataset, store: S3, tmp_path: Path
) -> None:
    source.replies = [reply(200, CSV, ETag='"1"', Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT")]

    result = ingestor.poll_once(dataset)

    [key] = result.object_keys
    stored = store.stat(BRONZE_BUCKET, key)
    store.fetch(stored, tmp_path / "x")
    assert (result.outcome, (tmp_path / "x").read_bytes()) == ("landed", CSV)
    assert key.startswith(f"{dataset.name}/ingest_date=")
    assert key.endswith("_items.csv")
    assert stored.metadata[WRITE_DISPOSITION] == "replace"
    assert LANDED_AT in stored.metadata
    assert ledger(ingestor) == [(key, "registered", "poll")]
    assert announced(ingestor, dataset.name) == [ObjectRef(bucket=BRONZE_BUCKET, key=key, version_id=stored.version_id)]
    assert polls(ingestor) == [("landed", 200, 1)]


def test_an_unchanged_source_lands_nothing_and_every_nth_poll_is_whole(
    ingestor: Ingestor, source: Source, dataset: Dataset
) -> None:
    source.replies = [
        reply(200, CSV, ETag='"1"'),
        reply(304),
        reply(304),
        reply(304),
        reply(200, CSV, ETag='"1"'),
        reply(304),
        reply(304),
        reply(304),
        reply(200, CSV + b"3,changed\n", ETag='"1"'),  # the ETag lies: only the whole fetch finds it
    ]

    outcomes = [ingestor.poll_once(dataset).outcome for _ in range(9)]

    assert outcomes == ["landed", *["unchanged"] * 7, "landed"]
    conditional = [request.get("if-none-match") for request in source.requests]
    assert conditional == [None, '"1"', '"1"', '"1"', None, '"1"', '"1"', '"1"', None]
    assert len(ledger(ingestor)) == 2


def test_passing_troubles_are_outlasted(ingestor: Ingestor, source: Source, dataset: Dataset) -> None:
    source.replies = [reply(500), reply(429, Retry_After="1"), reply(200, CSV)]
    began = time.monotonic()

    assert ingestor.poll_once(dataset).outcome == "landed"

    assert time.monotonic() - began >= 1
    assert polls(ingestor) == [("landed", 200, 3)]


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ([reply(503), reply(500), reply(502)], "HTTP 502 (after 3 attempts)"),
        ([reply(200, CSV, length=len(CSV) + 5)] * 3, "the connection failed|were announced"),
        ([chunked(CSV, is_cut=True)] * 3, "the connection failed"),
        ([reply(200, gzip.compress(CSV)[:-9], Content_Encoding="gzip")] * 3, "the compressed transfer is cut off"),
        ([reply(200, CSV, Content_Encoding="br")], "only gzip is known"),
        ([drip] * 3, "slower than MEDALLION_HTTP_TOTAL_TIMEOUT_SECONDS"),
        ([reply(429, Retry_After="3600")], "to be asked again in 3600 s only"),
        ([reply(404)], "HTTP 404"),
        (
            [reply(200, b"<html>", Content_Type="text/html; charset=utf-8")],
            "an HTML page came instead of CSV",
        ),
        ([reply(302, Location="/again")] * 7, "more than 5 redirects"),
    ],
    ids=[
        "500s",
        "wrong length",
        "chunks cut",
        "compressed cut",
        "unknown encoding",
        "drip",
        "long Retry-After",
        "404",
        "html",
        "redirect loop",
    ],
)
def test_what_is_not_whole_is_not_landed(
    ingestor: Ingestor,
    source: Source,
    dataset: Dataset,
    replies: list[Callable[[BaseHTTPRequestHandler], None]],
    message: str,
) -> None:
    source.replies = list(replies)

    result = ingestor.poll_once(dataset)

    assert result.outcome == "failed"
    assert any(part in (result.error_message or "") for part in message.split("|"))
    assert dataset.name in (result.error_message or "")
    assert ledger(ingestor) == []
    assert [poll[0] for poll in polls(ingestor)] == ["failed"]


def test_a_body_of_unannounced_length_lands_when_its_end_is_said(
    ingestor: Ingestor, source: Source, dataset: Dataset, store: S3, tmp_path: Path
) -> None:
    source.replies = [chunked(CSV, is_cut=False)]

    [key] = ingestor.poll_once(dataset).object_keys

    store.fetch(store.stat(BRONZE_BUCKET, key), tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CSV


def test_a_compressed_transfer_lands_the_file_itself(
    ingestor: Ingestor, source: Source, dataset: Dataset, store: S3, tmp_path: Path
) -> None:
    source.replies = [reply(200, gzip.compress(CSV), Content_Encoding="gzip")]

    [key] = ingestor.poll_once(dataset).object_keys

    store.fetch(store.stat(BRONZE_BUCKET, key), tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CSV


def test_a_folder_lands_new_and_changed_files_only(ingestor: Ingestor, tmp_path: Path) -> None:
    folder = tmp_path / "in box"
    folder.mkdir()
    dataset = dataset_from(folder.as_uri() + "/")
    ingestor = Ingestor(
        ingestor.settings, Catalog({dataset.name: dataset}), ingestor.warehouse, ingestor.store, ingestor.bus
    )
    (folder / "b ü.csv").write_bytes(CSV)
    (folder / "a.csv").write_bytes(CSV)
    (folder / ".hidden").write_bytes(CSV)

    first = ingestor.poll_once(dataset)
    second = ingestor.poll_once(dataset)
    (folder / "a.csv").write_bytes(CSV + b"3,three\n")
    third = ingestor.poll_once(dataset)

    assert [key.rsplit("_", 1)[1] for key in first.object_keys] == ["a.csv", "b ü.csv"]
    assert (second.outcome, list(second.object_keys)) == ("unchanged", [])
    assert [key.rsplit("_", 1)[1] for key in third.object_keys] == ["a.csv"]


def test_the_sweep_finds_dropped_objects_oldest_first_and_once(ingestor: Ingestor, store: S3, dataset: Dataset) -> None:
    put = [store.put_bytes(BRONZE_BUCKET, f"{dataset.name}/a b+ü.csv", CSV + bytes([n]), {}) for n in range(3)]
    store.put_bytes(BRONZE_BUCKET, "nobody/x.csv", CSV, {})

    found = ingestor.sweep_once()
    again = ingestor.sweep_once()

    assert (found.listed, found.registered) == (4, 4)
    assert again.registered == 0
    assert [row for row in ledger(ingestor) if row[1] == "ignored"] == [("nobody/x.csv", "ignored", "sweep")]
    refs = [r for r in announced(ingestor, dataset.name) if r.version_id]
    assert [r.version_id for r in refs[:3]] == [info.version_id for info in put]


def test_a_sweep_finds_what_is_new_among_what_it_knows(ingestor: Ingestor, store: S3, dataset: Dataset) -> None:
    for n in range(40):
        store.put_bytes(BRONZE_BUCKET, f"{dataset.name}/{n:02}.csv", CSV, {})
    assert ingestor.sweep_once().registered == 40
    assert ingestor.sweep_once().registered == 0
    store.put_bytes(BRONZE_BUCKET, f"{dataset.name}/07.csv", CSV, {})
    store.put_bytes(BRONZE_BUCKET, f"{dataset.name}/07b.csv", CSV, {})

    found = ingestor.sweep_once()

    assert (found.listed, found.registered) == (42, 2)
    assert len(ledger(ingestor)) == 42


def test_what_the_ledger_has_lost_is_found_by_the_next_full_sweep(
    ingestor: Ingestor, store: S3, dataset: Dataset
) -> None:
    store.put_bytes(BRONZE_BUCKET, f"{dataset.name}/x.csv", CSV, {})
    assert ingestor.sweep_once().registered == 1
    ingestor.sweep_once()
    with ingestor.warehouse.session("test") as session:
        session.execute("DELETE FROM bronze.ingestion_metadata")
        session.commit()
    assert ingestor.sweep_once().registered == 0

    impatient = replace(ingestor, settings=ingestor.settings.model_copy(update={"full_sweep_interval_seconds": 1e-9}))
    assert impatient.sweep_once().registered == 1


def test_a_sweep_of_a_large_bucket_leaves_known_past_days_out_until_the_whole_is_listed_again(
    ingestor: Ingestor, store: S3, dataset: Dataset
) -> None:
    thrifty = replace(ingestor, settings=ingestor.settings.model_copy(update={"listing_share_max": 1e-9}))
    past, today = f"{dataset.name}/ingest_date=2020-01-01", f"{dataset.name}/ingest_date={datetime.now(UTC):%Y-%m-%d}"
    for key in (f"{past}/a.csv", f"{today}/a.csv", f"{dataset.name}/a.csv"):
        store.put_bytes(BRONZE_BUCKET, key, CSV, {})
    first = thrifty.sweep_once()
    for key in (f"{past}/b.csv", f"{today}/b.csv", f"{dataset.name}/b.csv", f"{dataset.name}/new/b.csv"):
        store.put_bytes(BRONZE_BUCKET, key, CSV, {})

    narrow = thrifty.sweep_once()
    whole = replace(thrifty, settings=ingestor.settings).sweep_once()

    assert (first.listed, first.registered) == (3, 3)
    assert (narrow.listed, narrow.registered, narrow.gone) == (5, 3, 0)
    assert (whole.listed, whole.registered) == (7, 1)


def test_an_object_that_cannot_be_registered_does_not_hide_the_others(
    ingestor: Ingestor, store: S3, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        store.put_bytes(BRONZE_BUCKET, f"{dataset.name}/{number:02}.csv", b"id,name\n", {})

    def odd(store: ObjectStore, ref: ObjectRef, listed: ListedTogether) -> Described | None:
        if ref.key.endswith("/05.csv"):
            raise OverflowError("a time that no clock shows")
        return describe(store, ref, listed)

    monkeypatch.setattr(sweep, "describe", odd)

    assert (ingestor.sweep_once().registered, ingestor.sweep_once().registered) == (11, 0)
    monkeypatch.undo()
    assert ingestor.sweep_once().registered == 1


def test_two_ingestors_sweep_at_once_and_register_everything_once(
    ingestor: Ingestor, store: S3, dataset: Dataset
) -> None:
    for n in range(60):
        store.put_bytes(BRONZE_BUCKET, f"{dataset.name}/{n:02}.csv", CSV, {})
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda one: one.sweep_once(), (ingestor, replace(ingestor))))

    assert sum(result.registered for result in results) == 60
    assert len(ledger(ingestor)) == 60
    assert {ref.key for ref in announced(ingestor, dataset.name)} == {f"{dataset.name}/{n:02}.csv" for n in range(60)}


def test_the_sweep_announces_again_what_stays_unfinished(ingestor: Ingestor, store: S3, dataset: Dataset) -> None:
    store.put_bytes(BRONZE_BUCKET, f"{dataset.name}/x.csv", CSV, {})
    ingestor.sweep_once()
    time.sleep(0.25)

    assert ingestor.sweep_once().announced_again == 1
    assert ingestor.sweep_once().announced_again == 0
    with ingestor.warehouse.session("test") as session:
        session.execute("UPDATE bronze.ingestion_metadata SET status = 'processing'")
        session.execute(
            "INSERT INTO bronze.workers (worker_id, service, host, pid, object_id)"
            " SELECT 'w', 'silver', 'h', 1, object_id FROM bronze.ingestion_metadata"
        )
        session.commit()
    time.sleep(0.25)
    assert ingestor.sweep_once().announced_again == 0


def test_an_object_deleted_before_it_was_read_is_set_aside(ingestor: Ingestor, store: S3, dataset: Dataset) -> None:
    put = store.put_bytes(BRONZE_BUCKET, f"{dataset.name}/x.csv", CSV, {})
    ingestor.sweep_once()
    store._client.remove_object(BRONZE_BUCKET, put.key, version_id=put.version_id)

    assert ingestor.sweep_once().gone == 1

    with ingestor.warehouse.session("test") as session:
        rows = session.rows("SELECT status, error_message FROM bronze.ingestion_metadata")
    assert rows == [("ignored", "deleted before it was read")]


def test_unconsumed_change_sets_are_announced_again(ingestor: Ingestor) -> None:
    with ingestor.warehouse.session("test") as session:
        session.execute(
            "INSERT INTO silver.change_sets (change_set_id, dataset, is_everything, groups, group_columns,"
            " rows_inserted, rows_updated, rows_deleted, rows_rewritten, announced_at, exported_at)"
            " SELECT gen_random_uuid(), 'x', true, '[]', '{}', 1, 0, 0, 0, t, t"
            " FROM (VALUES (NULL::timestamptz), (clock_timestamp()), (clock_timestamp())) AS v(t)"
        )
        session.execute(
            "INSERT INTO gold.pending (model, change_set_id, dataset)"
            " SELECT 'm', change_set_id, 'x' FROM silver.change_sets WHERE announced_at IS NOT NULL LIMIT 1"
        )
        session.commit()
    time.sleep(0.25)

    assert ingestor.sweep_once().changes_announced_again == 2
    assert ingestor.sweep_once().changes_announced_again == 0


def test_a_change_set_that_the_lake_lacks_sends_its_object_to_silver_again(
    ingestor: Ingestor, store: S3, dataset: Dataset
) -> None:
    put = store.put_bytes(BRONZE_BUCKET, f"{dataset.name}/x.csv", CSV, {})
    ingestor.sweep_once()
    with ingestor.warehouse.session("test") as session:
        session.execute("UPDATE bronze.ingestion_metadata SET status = 'done', finished_at = clock_timestamp()")
        session.execute(
            "INSERT INTO silver.change_sets (change_set_id, dataset, object_id, is_everything, groups, group_columns,"
            " rows_inserted, rows_updated, rows_deleted, rows_rewritten, announced_at)"
            " SELECT gen_random_uuid(), dataset, object_id, true, '[]', '{}', 1, 0, 0, 0, clock_timestamp()"
            " FROM bronze.ingestion_metadata"
        )
        session.commit()
    time.sleep(0.25)

    assert ingestor.sweep_once().changes_announced_again == 1

    ref = ObjectRef(bucket=BRONZE_BUCKET, key=put.key, version_id=put.version_id)
    assert announced(ingestor, dataset.name) == [ref, ref]


@pytest.mark.embedded("SeaweedFS calls the webhook; other stores announce on Kafka themselves")
def test_a_dropped_file_is_announced_through_the_webhook(
    ingestor: Ingestor, store: S3, dataset: Dataset, settings: Settings
) -> None:
    nudges: list[None] = []
    receiver = Receiver(lambda ref: _discover(ingestor, ref), lambda: nudges.append(None))
    webhook = Webhook("127.0.0.1", settings.webhook_port, BRONZE_BUCKET, receiver)
    webhook.start()
    try:
        put = store.put_bytes(BRONZE_BUCKET, f"{dataset.name}/ein ordner/a b+ü.csv", CSV, {})
        deadline = time.monotonic() + 10
        while not ledger(ingestor) and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        webhook.stop()

    assert ledger(ingestor) == [(put.key, "registered", "event")]
    assert announced(ingestor, dataset.name) == [
        ObjectRef(bucket=BRONZE_BUCKET, key=put.key, version_id=put.version_id)
    ]
    assert nudges == []


def _discover(ingestor: Ingestor, ref: ObjectRef) -> None:
    ingestor.discover(ref, "event")


def test_a_loop_runs_at_once_again_when_nudged_and_outlives_failures() -> None:
    runs: list[float] = []
    done = threading.Event()

    def task() -> None:
        runs.append(time.monotonic())
        if len(runs) == 3:
            done.set()
        if len(runs) == 1:
            raise ValueError("a bug")

    loop = Loop("test", 0.05, task)
    loop.start()
    assert done.wait(5)
    loop.stop(1.0)
    assert json.dumps(runs)
