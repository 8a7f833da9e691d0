"""Where the demonstration's data comes from: the internet, a folder, or made up; always polled like any source."""

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import yaml

from services.cli.demo import epidemic, people
from shared.catalog import Catalog
from shared.dataset import Dataset
from shared.errors import ConfigurationError

log = logging.getLogger(__name__)

REACH_SECONDS = 1.4  # to connect, and again to answer
POLL_SECONDS = 5.0
DEMO_DATASETS = ("users", "posts", "covid")


def are_reachable(catalog: Catalog) -> bool:
    """Say whether every source answers now; all are asked at the same time."""
    urls = [dataset.source.url for dataset in catalog.datasets.values() if dataset.source]
    with ThreadPoolExecutor(max(len(urls), 1)) as pool:
        return all(pool.map(_answers, urls))


def _answers(url: str) -> bool:
    import requests

    if not url.startswith("http"):
        return True
    try:
        with requests.get(url, timeout=(REACH_SECONDS, REACH_SECONDS), stream=True) as response:
            return response.status_code == 200
    except requests.RequestException:
        return False


def generate(folder: Path) -> None:
    """Write made-up data of the real sources' shape and size into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "users.json").write_text(json.dumps(people.users(), indent=2), encoding="utf-8")
    (folder / "posts.json").write_text(json.dumps(people.posts(), indent=2), encoding="utf-8")
    with (folder / "time-series-19-covid-combined.csv").open("w", encoding="utf-8") as file:
        file.writelines(epidemic.covid_csv())


def files_in(folder: Path, catalog: Catalog) -> dict[str, Path]:
    """Return each dataset's file in a folder or one level below; raises ConfigurationError when one is missing.

    A file is recognised by the last part of the source's URL, with or without something behind its stem.
    """
    if not folder.is_dir():
        raise ConfigurationError(
            f"MEDALLION_DEMO_SOURCES: {folder} is no folder; give internet, generated, or a folder that holds users.json, "
            "posts.json and time-series-19-covid-combined.csv"
        )
    found = {name: _file_of(folder, dataset) for name, dataset in catalog.datasets.items() if dataset.source}
    return {name: path for name, path in found.items() if path}


def without_sources(catalog: Catalog, polled: Mapping[str, object]) -> Catalog:
    """Return the catalog with no source but those that are polled: datasets that were added stay, and wait for drops."""
    datasets = {
        name: dataset if name in polled else dataset.model_copy(update={"source": None})
        for name, dataset in catalog.datasets.items()
    }
    return Catalog(datasets)


def _file_of(folder: Path, dataset: Dataset) -> Path | None:
    """Return a dataset's file; None where there is none and the demonstration does without."""
    assert dataset.source is not None
    stem = PurePosixPath(urlsplit(dataset.source.url).path).stem
    suffix = dataset.format.type
    for pattern in (f"{stem}.{suffix}", f"{stem}*.{suffix}", f"{stem}*.{suffix}.gz", f"{stem}*.{suffix}.zip"):
        found = sorted([*folder.glob(pattern), *folder.glob(f"*/{pattern}")])
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(str(path.relative_to(folder)) for path in found)
            raise ConfigurationError(f"{folder} holds several files for dataset {dataset.name}: {names}; leave one")
    if dataset.name not in DEMO_DATASETS:
        return None
    raise ConfigurationError(f"{folder} holds no file for dataset {dataset.name}: {stem}.{suffix} was looked for")


@contextmanager
def served(files: Mapping[str, Path]) -> Iterator[dict[str, str]]:
    """Serve files over HTTP on loopback as long as the block lasts; yield each dataset's URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, files))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    try:
        yield {name: f"http://127.0.0.1:{server.server_address[1]}/{name}/{path.name}" for name, path in files.items()}
    finally:
        server.shutdown()
        server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    """Gives out the named files and nothing else; answers conditional requests."""

    def __init__(self, files: Mapping[str, Path], *arguments: Any) -> None:
        self._files = files
        super().__init__(*arguments)

    def translate_path(self, path: str) -> str:
        """Return the file that a request means."""
        name = path.strip("/").split("/")[0]
        return str(self._files.get(name, "/nonexistent"))

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep requests off the screen."""
        log.debug(format, *arguments)


def write_config(source_dir: Path, target_dir: Path, urls: Mapping[str, str]) -> Path:
    """Copy a configuration with other source URLs, polled every few seconds; return the new folder.

    Datasets are data: this is all it takes to point the pipeline at other sources.
    """
    (target_dir / "datasets").mkdir(parents=True, exist_ok=True)
    for path in source_dir.glob("*.yaml"):
        (target_dir / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    for path in (source_dir / "datasets").glob("*.yaml"):
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.stem in urls:
            body["source"] |= {"url": urls[path.stem], "poll_interval_seconds": POLL_SECONDS}
        elif urls and path.stem not in DEMO_DATASETS:
            body.pop("source", None)
        text = yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
        (target_dir / "datasets" / path.name).write_text(text, encoding="utf-8")
    return target_dir
