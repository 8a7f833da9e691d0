"""The sample as a file on this disk: fetched where it is a URL, unpacked where it is compressed, and of a kind we read."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.ingestor.sources import SourceFailed, is_web, local_path
from services.ingestor.web import Request, fetch_web
from services.silver.unpack import signature_of, unpack
from shared.dataset import Limits
from shared.errors import ConfigurationError, Rejected
from shared.settings import Settings

_PAGE = re.compile(rb"\s*<(!doctype|html|head|body|\?xml)", re.IGNORECASE)
_FOREIGN = (
    (b"%PDF", "a PDF document", "export the table as CSV"),
    (b"PAR1", "a Parquet file", "export it as CSV or JSON lines"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"\x89PNG", "an image", "give a file of text"),
    (b"\xff\xd8\xff", "an image", "give a file of text"),
    (b"\xd0\xcf\x11\xe0", "an old Office document (.xls, .doc)", "save the sheet as CSV"),
)
_CONTROL = bytes(set(range(32)) - {9, 10, 12, 13, 26, 27})
_HEAD_BYTES = 65_536
_CONTROL_MAX_SHARE = 0.1  # of bytes that are neither text nor the zeros of UTF-16


@dataclass(frozen=True)
class Sample:
    """A file to look at."""

    path: Path  # on this disk, unpacked
    delivered: Path  # as it came, for landing
    name: str  # as the user gave it, for messages
    url: str = ""  # where it came from, if from the web


@contextmanager
def opened(given: str, settings: Settings) -> Iterator[Sample]:
    """Yield a file, or what a URL leads to, as plain text on disk until the block ends.

    Raises ConfigurationError when there is no such file, Rejected when it is empty, or of a kind that is not read.
    """
    with tempfile.TemporaryDirectory(prefix="medallion-add-") as folder:
        delivered = _delivered(given, Path(folder), settings)
        if not delivered.stat().st_size:
            raise Rejected(f"{given}: the file is empty; give one with some typical records")
        try:
            path = _unpacked(delivered, Path(folder))
        except Rejected as error:
            raise Rejected(f"{given}: {error}") from error
        with path.open("rb") as file:
            refuse_foreign(given, file.read(_HEAD_BYTES))
        yield Sample(path, delivered, given, given if is_web(given) else "")


def _delivered(given: str, folder: Path, settings: Settings) -> Path:
    if is_web(given):
        target = folder / (Path(given.split("?")[0]).name or "download")
        limits = Limits.model_validate({})
        request = Request(given, target.name, "data", limits.file_bytes_max, None)
        try:
            fetch_web(request, settings, target)
        except SourceFailed as error:
            raise Rejected(str(error)) from error
        return target
    path = local_path(given) if given.startswith("file://") else Path(given)
    if path.is_dir():
        raise ConfigurationError(f"{given} is a folder; name one typical file of it")
    if not path.is_file():
        raise ConfigurationError(f"{given} does not exist")
    return path


def _unpacked(delivered: Path, folder: Path) -> Path:
    """Return the content of a compressed file, any other as it is."""
    if signature_of(delivered) is None:
        return delivered
    (folder / "unpacked").mkdir()
    copy = folder / "unpacked" / delivered.name
    shutil.copyfile(delivered, copy)
    unpack(copy, Limits.model_validate({}))
    if not copy.stat().st_size:
        raise Rejected("what it holds is empty; give a file with some typical records")
    return copy


def refuse_foreign(name: str, head: bytes) -> None:
    """Raise Rejected when a file begins like one that has no records of text."""
    for signature, kind, remedy in _FOREIGN:
        if head.startswith(signature):
            raise Rejected(f"{name}: it is {kind}, which is not read; {remedy}")
    if _PAGE.match(head.lstrip(b"\xef\xbb\xbf")):
        raise Rejected(
            f"{name}:1: it is a web page or XML, not CSV or JSON; where a download ends in a page that asks for a "
            "login or tells of an error, open the address in a browser"
        )
    strange = len(head) - len(head.translate(None, _CONTROL + b"\0"))
    zeros = head.count(b"\0")
    if strange - zeros > _CONTROL_MAX_SHARE * len(head) or zeros > 0.9 * len(head):
        raise Rejected(f"{name}: it holds binary data, not text; give a CSV, JSON or JSON lines file")
