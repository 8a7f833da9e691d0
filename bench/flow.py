"""Files flowing through the running services: what measurements of the whole path share."""

import argparse
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.store import S3Store

from services.stack import Stack
from shared.adapters.postgres import Postgres
from shared.adapters.s3 import REGION
from shared.errors import MedallionError
from shared.ports import Row
from shared.settings import BRONZE_BUCKET, Settings, data_file_root, load_settings
from tests.servers import Servers
from tests.stacks import STACKS, Opened, available_stacks

PUT_THREADS = 8
POLL_SECONDS = 0.5  # what is measured is read from the ledger; asking more often takes CPU from it

_UNFINISHED = """
SELECT (SELECT count(*) FROM bronze.ingestion_metadata WHERE status IN ('registered', 'processing', 'failed'))
     + (SELECT count(*) FROM gold.pending)
"""
_FINISHED = "SELECT count(*) FROM bronze.ingestion_metadata WHERE object_key LIKE %s AND status = 'done'"


@dataclass(frozen=True)
class Flow:
    """A running pipeline, asked through the database and kept up while one waits."""

    stack: Stack
    servers: Servers
    warehouse: Postgres

    def rows(self, query: str, params: Sequence[object] = ()) -> list[Row]:
        """Run a query on a session of its own."""
        with self.warehouse.session("bench") as session:
            return session.rows(query, params)

    def await_done(self, keys: str, count: int, timeout_seconds: float) -> None:
        """Wait until so many objects whose keys are LIKE this are done; raises MedallionError with what there is instead."""
        self._await(lambda: self.rows(_FINISHED, (keys,))[0][0] >= count, f"{count} {keys} done", timeout_seconds)

    def await_settled(self, timeout_seconds: float) -> None:
        """Wait until no object is unfinished and gold has taken in every change."""
        self._await(lambda: not self.rows(_UNFINISHED)[0][0], "everything settled", timeout_seconds)

    def _await(self, is_so: Callable[[], bool], what: str, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not is_so():
            found: dict[str, int] = dict(
                self.rows("SELECT status, count(*) FROM bronze.ingestion_metadata GROUP BY status")
            )
            if time.monotonic() > deadline or found.keys() & {"rejected", "held", "failed"}:
                raise MedallionError(
                    f"not {what} within {timeout_seconds:.0f} s, but {found}; see {self.stack.data_dir}"
                )
            self.stack.tick()
            time.sleep(POLL_SECONDS)

    def span_seconds(self, keys: str) -> float:
        """Return the seconds from the first claim to the last commit of objects whose keys are LIKE this."""
        query = "SELECT extract(epoch FROM max(finished_at) - min(started_at)) FROM bronze.ingestion_metadata"
        return float(self.rows(f"{query} WHERE object_key LIKE %s", (keys,))[0][0])


@contextmanager
def flowing(options: argparse.Namespace, contracts: Mapping[str, str], silver: int = 1) -> Iterator[Flow]:
    """Run the services on the chosen stack, with datasets of one's own, for as long as the block lasts."""
    logging.disable(logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="medallion-bench-"))
    try:
        shutil.copytree(data_file_root("config"), folder / "config")
        for name, text in contracts.items():
            (folder / "config" / "datasets" / f"{name}.yaml").write_text(text, encoding="utf-8")
        settings = load_settings(config_dir=folder / "config")
        with (
            available_stacks(options.stack) as stacks,
            stacks.open(folder / "data", settings, services=True, silver=silver) as opened,
        ):
            yield _flow(opened)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _flow(opened: Opened) -> Flow:
    assert opened.stack.settings.database_url is not None
    warehouse = Postgres(opened.stack.settings.database_url.get_secret_value())
    return Flow(opened.stack, opened.servers, warehouse)


def put_all(settings: Settings, contents: Mapping[str, bytes]) -> float:
    """Drop files into the bronze bucket, eight at a time; return the seconds it took.

    By obstore, which takes a fifth of minio-py's CPU: what drops runs on the machine that is measured.
    """
    store = S3Store(
        BRONZE_BUCKET,
        endpoint=f"{'https' if settings.s3_secure else 'http'}://{settings.s3_endpoint}",
        access_key_id=settings.s3_access_key.get_secret_value(),
        secret_access_key=settings.s3_secret_key.get_secret_value(),
        region=REGION,
        client_options={"allow_http": True},
    )
    began = time.monotonic()
    with ThreadPoolExecutor(PUT_THREADS) as pool:
        for _ in pool.map(lambda one: obstore.put(store, one[0], one[1], use_multipart=False), contents.items()):
            pass
    return time.monotonic() - began


def stack_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser of a measurement's options that knows `--stack`."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument(
        "--stack", choices=STACKS, default="embedded", help="whose servers are measured (default embedded)"
    )
    return parser


def say(what: str, figure: str) -> None:
    """Print one figure, beside the machine's load, which it depends on."""
    print(f"{what}: {figure}   (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs)", flush=True)
