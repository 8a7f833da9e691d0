"""What a source is, whatever it is fetched by: decisions on frozen types, and the choice between the ways."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from shared.dataset import Dataset
from shared.errors import MedallionError


class SourceFailed(MedallionError):
    """A source could not be fetched whole; the message says why and what may help."""

    def __init__(self, reason: str, *, http_status: int | None = None, attempts: int = 1) -> None:
        super().__init__(reason)
        self.http_status = http_status
        self.attempts = attempts


@dataclass(frozen=True)
class Previous:
    """What the last successful poll of a source left behind."""

    etag: str | None = None
    last_modified: str | None = None
    content_sha256: str | None = None
    polls_since_full: int = 0  # polls after the one that last transferred the whole content


@dataclass(frozen=True)
class Fetched:
    """A whole file from a source, on local disk."""

    path: Path
    name: str  # the file's own name
    size_bytes: int
    content_sha256: str
    etag: str | None
    last_modified: str | None
    attempts: int
    http_status: int | None = None


@dataclass(frozen=True)
class NotModified:
    """The source says that it is as it was."""

    attempts: int
    http_status: int | None = None


def conditions(previous: Previous, full_fetch_every_polls: int) -> Previous | None:
    """Return what makes the next request conditional, or None when it must be unconditional.

    Every so many polls a source is fetched whole, in case its ETag or its modification time lies.
    """
    if previous.polls_since_full + 1 >= full_fetch_every_polls or not previous.content_sha256:
        return None
    return previous if previous.etag or previous.last_modified else None


def is_unchanged(fetched: Fetched, previous: Previous) -> bool:
    """Return whether the content is what the last successful poll of this source saw."""
    return fetched.content_sha256 == previous.content_sha256


def file_name(url: str, dataset: Dataset) -> str:
    """Return the name that a URL's content gets at the end of its object key."""
    last = unquote(urlsplit(url).path).rsplit("/", 1)[-1].strip()
    name = "".join(c if c.isalnum() or c in "._-+ ()" else "_" for c in last) or dataset.name
    return name[-120:] if "." in name else f"{name[-120:]}.{dataset.format.type}"


def is_web(url: str) -> bool:
    """Return whether a source is fetched over HTTP."""
    return url.startswith(("http://", "https://"))


def is_folder(url: str) -> bool:
    """Return whether a file:// source is a folder: its URL ends in a slash, or it is one."""
    return url.startswith("file://") and (url.endswith("/") or local_path(url).is_dir())


def local_path(url: str) -> Path:
    """Return the path of a file:// URL."""
    return Path(url2pathname(urlsplit(url).path))


def folder_files(url: str) -> Iterator[Path]:
    """Yield the files of a folder source by name, hidden ones and unfinished downloads left out.

    Raises SourceFailed when the folder is not there.
    """
    folder = local_path(url)
    if not folder.is_dir():
        raise SourceFailed(f"{folder} is not a folder; create it or correct source.url")
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and path.suffix not in (".part", ".tmp", ".crdownload"):
            yield path
