"""Unpack a gzip or zip file in the scratch folder before it is read: streaming, held to limits, whole or not at all.

What a file is, its first bytes say and not its name: servers decode `.csv.gz` on the way, people rename files, and no
text of ours begins with either signature.
"""

import io
import os
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from services.silver.record import shortened
from shared.dataset import Limits
from shared.errors import Rejected

CHUNK_BYTES = 262_144
# What grows to less than this is harmless whatever its ratio; a column of zeros may well shrink a thousandfold.
RATIO_FROM_BYTES = 67_108_864
# A zip's list of its files is read into memory.
ZIP_DIRECTORY_BYTES_MAX = 1_048_576

_SIGNATURES = (b"\x1f\x8b\x08", b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_FOREIGN = (  # offset, signature, name
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (0, b"Rar!\x1a\x07", "RAR"),
    (4, b"1AY&SY", "bzip2"),
    (257, b"ustar", "tar"),
)
_HEAD_BYTES = 262
_ENCRYPTED = 0x1
# What a damaged archive makes the standard library raise; OSError by a seek to before the file's beginning.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)


def unpack(path: Path, limits: Limits) -> None:
    """Replace a compressed file by its content; leave any other as it is.

    Raises Rejected when it is damaged, encrypted, more or less than one file, or grows beyond
    `limits.decompressed_bytes_max` or `limits.decompression_ratio_max`. Memory does not depend on its size.
    """
    signature = signature_of(path)
    if signature is None:
        return
    content = path.with_name(f"{path.name}.content")
    try:
        with content.open("wb") as target, _Archive(path) as source:
            growing = _Growing(target, source, limits)
            (_gunzip if signature.startswith(b"\x1f") else _unzip)(source, growing)
        if signature_of(content) is not None:
            raise Rejected("it is compressed twice, gzip or zip within gzip or zip; compress the file once")
        content.replace(path)
    finally:
        content.unlink(missing_ok=True)


def signature_of(path: Path) -> bytes | None:
    """Return the signature of a compressed file, None for any other; raises Rejected for kinds that are not read."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for offset, signature, name in _FOREIGN:
        if head.startswith(signature, offset):
            raise Rejected(f"it is a {name} file, which is not read; deliver it as it is, or as gzip or zip")
    return next((signature for signature in _SIGNATURES if head.startswith(signature)), None)


class _Archive(io.FileIO):
    """A compressed file that is never read in large pieces, whatever sizes are written in it."""

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = os.fstat(self.fileno()).st_size - self.tell() if size is None or size < 0 else size
        if wanted > ZIP_DIRECTORY_BYTES_MAX:
            raise Rejected(f"the zip's directory has {wanted:,} bytes, more than any zip of one file needs")
        return super().read(wanted) or b""


class _Growing:
    """The content as it is written, held to the limits."""

    def __init__(self, target: BinaryIO, source: _Archive, limits: Limits) -> None:
        self._target, self._source, self._limits = target, source, limits
        self.begins_at = 0  # where in the source the compressed data begins
        self.written = 0

    def write(self, data: bytes) -> None:
        """Write a piece; raises Rejected beyond a limit."""
        self.written += len(data)
        if self.written > self._limits.decompressed_bytes_max:
            raise Rejected(
                f"unpacked it has more than {self._limits.decompressed_bytes_max:,} bytes; split it, or raise "
                "limits.decompressed_bytes_max"
            )
        if self.written > RATIO_FROM_BYTES:
            self._check_ratio()
        self._target.write(data)

    def _check_ratio(self) -> None:
        used = max(self._source.tell() - self.begins_at, 1)
        if self.written > self._limits.decompression_ratio_max * used:
            raise Rejected(
                f"its first {used:,} bytes unpack to {self.written:,}, more than limits.decompression_ratio_max "
                f"({self._limits.decompression_ratio_max:g}) times as many: it looks like a decompression bomb. Deliver "
                "it uncompressed, or raise that limit if it is right"
            )


def _gunzip(source: _Archive, content: _Growing) -> None:
    """Unpack gzip of one or more members; zeros may follow them, as tapes and disks pad with."""
    decoder = zlib.decompressobj(wbits=31)
    data = source.read(CHUNK_BYTES)
    while data:
        try:
            content.write(decoder.decompress(data, CHUNK_BYTES))
        except zlib.error as error:
            raise Rejected(_damaged("gzip", content, error)) from error
        if not decoder.eof:
            data = decoder.unconsumed_tail or source.read(CHUNK_BYTES)
        elif data := _next_member(source, decoder.unused_data):
            decoder = zlib.decompressobj(wbits=31)
    if not decoder.eof:
        raise Rejected(
            f"the gzip file breaks off after {content.written:,} unpacked bytes: it is truncated; upload it again"
        )


def _next_member(source: _Archive, data: bytes) -> bytes:
    """Return what follows a member and its padding, b"" at the end; raises Rejected when that is no gzip."""
    while not (rest := data.lstrip(b"\0")):
        data = source.read(CHUNK_BYTES)
        if not data:
            return b""
    if not rest.startswith(b"\x1f"):
        raise Rejected("behind the end of the gzip data there is something else; compress the file anew")
    return rest


def _unzip(source: _Archive, content: _Growing) -> None:
    """Unpack the one file that a zip holds."""
    try:
        with zipfile.ZipFile(source) as archive:
            entry = _only_file(archive)
            content.begins_at = entry.header_offset
            with archive.open(entry) as file:
                while data := file.read(CHUNK_BYTES):
                    content.write(data)
    except _DAMAGE as error:
        raise Rejected(_damaged("zip", content, error)) from error
    except OSError as error:
        if error.errno not in (None, 22):
            raise
        raise Rejected(_damaged("zip", content, error)) from error
    if content.written != entry.file_size:
        raise Rejected(
            f"{entry.filename!r} in the zip should have {entry.file_size:,} bytes and has {content.written:,}: the zip is "
            "damaged; make it anew"
        )


def _only_file(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the data file of a zip; folders, hidden files and what macOS adds are none."""
    files = [entry for entry in archive.infolist() if not _is_furniture(entry)]
    if any(entry.filename == "[Content_Types].xml" for entry in files):
        raise Rejected("it is an Office document (.xlsx, .docx, …), which is not read; save the sheet as CSV")
    if len(files) != 1:
        names = ", ".join(repr(shortened(entry.filename)) for entry in files[:5])
        shown = f" ({names}{', …' if len(files) > 5 else ''})" if files else ""
        raise Rejected(f"the zip holds {len(files)} files{shown}, exactly one is read; deliver each file by itself")
    entry = files[0]
    if entry.flag_bits & _ENCRYPTED:
        raise Rejected(f"{entry.filename!r} in the zip is encrypted; deliver it without a password")
    # The other methods may claim any amount of memory before they give a byte.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Rejected(
            f"{entry.filename!r} in the zip is compressed by method {entry.compress_type}; only Deflate is read"
        )
    return entry


def _is_furniture(entry: zipfile.ZipInfo) -> bool:
    *folders, name = entry.filename.split("/")
    return not name or name.startswith(".") or "__MACOSX" in folders


def _damaged(kind: str, content: _Growing, error: Exception) -> str:
    where = f"after {content.written:,} unpacked bytes"
    return f"the {kind} file is damaged, {where}: {shortened(str(error), 120)}; upload it again"
