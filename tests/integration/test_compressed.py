"""Compressed files on the real path: loaded like plain ones, refused with a reason, and nothing left on disk."""

import gzip
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from services.ingestor.service import Ingestor
from shared import requests
from shared.requests import backfill
from tests.pipeline import Pipeline

HEADER = b"Date,Country/Region,Province/State,Confirmed,Recovered,Deaths\n"
GOOD = HEADER + b"".join(b"2020-05-%02d,Peru,,%d,0,0\n" % (day, day) for day in range(1, 31))
BAD_LINE = b"2020-06-01,Peru,,many,0,0\n"


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/figures.csv", content)
        archive.writestr("__MACOSX/folder/._figures.csv", b"\0")
    return buffer.getvalue()


def scratch_files(pipeline: Pipeline) -> list[str]:
    return [path.name for path in (pipeline.settings.data_dir / "scratch").glob("*/*")]


@pytest.mark.parametrize("name", ["covid/day.csv.gz", "covid/day.zip", "covid/day.csv", "covid/day"])
def test_a_dropped_file_is_unpacked_whatever_its_name(pipeline: Pipeline, name: str) -> None:
    packed = zipped(GOOD + BAD_LINE) if name.endswith("zip") else gzip.compress(GOOD + BAD_LINE)
    found = pipeline.drop(name, packed)
    assert pipeline.process(found.object_id) == ["done"]
    row = pipeline.ledger(found.object_id)
    assert (row["rows_inserted"], row["rows_quarantined"], row["size_bytes"]) == (30, 1, len(packed))
    assert pipeline.rows("SELECT line_number, raw FROM silver.quarantine") == [(32, BAD_LINE.decode().strip())]
    assert pipeline.rows("SELECT min(_line_number), max(_line_number) FROM silver.clean_covid") == [(2, 31)]
    assert scratch_files(pipeline) == []
    pipeline.assert_invariants()


def test_plain_and_compressed_deliveries_of_the_same_rows_change_nothing(pipeline: Pipeline) -> None:
    pipeline.load("covid", GOOD, day=0)
    packed = gzip.compress(GOOD)
    assert pipeline.load("covid", packed, day=1)["rows_unchanged"] == 30
    repeated = pipeline.load("covid", packed, day=2)
    assert (repeated["rows_read"], repeated["rows_unchanged"]) == (30, 30)
    pipeline.assert_invariants()


def test_texts_of_conflicting_lines_are_read_again_from_the_content(pipeline: Pipeline) -> None:
    twice = b"2020-05-01,Peru,,1,0,0\n2020-05-01,Peru,,2,0,0\n"
    pipeline.load("covid", gzip.compress(HEADER + b"2020-04-30,Peru,,1,0,0\n" * 50 + twice), "merge")
    found = pipeline.rows("SELECT line_number, raw, reasons->0->>'rule' FROM silver.quarantine")
    assert found == [(52, "2020-05-01,Peru,,1,0,0", "duplicate_key")]


def test_a_backfill_unpacks_again_and_kept_rows_are_replayed_from_their_text(pipeline: Pipeline) -> None:
    object_id = pipeline.land("covid", gzip.compress(GOOD + BAD_LINE))
    pipeline.process(object_id)
    assert len(backfill(pipeline.session, "covid")) == 1
    assert pipeline.process(object_id) == ["done"]
    asked, _ = requests.replay(pipeline.session, dataset="covid")
    assert (asked, pipeline.process(object_id)) == (1, ["done"])
    assert pipeline.rows("SELECT raw, status FROM silver.quarantine") == [(BAD_LINE.decode().strip(), "open")]
    pipeline.assert_invariants()


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (gzip.compress(GOOD)[:-20], "the gzip file breaks off"),
        (gzip.compress(GOOD)[:-8] + bytes(8), "the gzip file is damaged"),
        (zipped(GOOD)[:200], "the zip file is damaged"),
        (gzip.compress(bytes(1_000_000)) * 10_000, "it looks like a decompression bomb"),  # 10 MB for 10 GB
    ],
    ids=["truncated", "checksum", "truncated zip", "bomb"],
)
def test_what_cannot_be_unpacked_changes_nothing_and_leaves_nothing(
    pipeline: Pipeline, packed: bytes, said: str
) -> None:
    pipeline.load("covid", GOOD)
    row = pipeline.load("covid", packed, day=1)
    assert (row["status"], row["rows_read"]) == ("rejected", None)
    assert said in row["error_message"]
    assert pipeline.rows("SELECT count(*) FROM silver.clean_covid") == [(30,)]
    assert scratch_files(pipeline) == []


PRICES = """
dataset: prices
source: {url: "URL", poll_interval_seconds: 60}
format: {type: csv}
columns: [{name: item, type: text}, {name: price, type: integer}]
primary_key: [item]
"""


class Quiet(SimpleHTTPRequestHandler):
    """A web server of files that keeps its log to itself."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The address of a web server that serves prices.csv.gz, as it lies there."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "prices.csv.gz").write_bytes(gzip.compress(b"item,price\na,1\nb,2\n"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "site")))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_source_of_compressed_files_lands_them_as_they_are(
    pipeline_with: Callable[..., Pipeline], site: str, tmp_path: Path
) -> None:
    pipeline = pipeline_with({"prices": PRICES.replace("URL", f"{site}/prices.csv.gz")})
    ingestor = Ingestor(pipeline.settings, pipeline.catalog, pipeline.warehouse, pipeline.store, pipeline.bus)
    assert ingestor.poll_once(pipeline.catalog["prices"]).outcome == "landed"
    [(object_id, key, size_bytes)] = pipeline.rows(
        "SELECT object_id, object_key, size_bytes FROM bronze.ingestion_metadata"
    )
    assert key.endswith("_prices.csv.gz")
    assert size_bytes == (tmp_path / "site" / "prices.csv.gz").stat().st_size
    assert pipeline.process(object_id) == ["done"]
    assert pipeline.rows("SELECT item, price FROM silver.clean_prices ORDER BY 1") == [("a", 1), ("b", 2)]
