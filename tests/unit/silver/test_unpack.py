"""Compressed files: the content whole, or a verdict that says what is wrong; never more memory or disk than allowed."""

import gzip
import io
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.silver import unpack as unpacking
from services.silver.unpack import unpack
from shared.dataset import Limits
from shared.errors import Rejected

TEXT = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * 7919 % 1000) for n in range(50_000))


def limits(**chosen: Any) -> Limits:
    return Limits.model_validate(chosen)


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def unpacked(folder: Path, packed: bytes, chosen: Limits | None = None) -> bytes:
    """Return a file's content; nothing else may be left in the folder, whatever happens."""
    path = folder / "object-1"
    path.write_bytes(packed)
    try:
        unpack(path, chosen or limits())
        return path.read_bytes()
    finally:
        assert [found.name for found in folder.iterdir()] == ["object-1"]


@pytest.mark.parametrize(
    "packed",
    [
        TEXT,
        gzip.compress(TEXT),
        gzip.compress(TEXT[:1000]) + gzip.compress(b"") + gzip.compress(TEXT[1000:]),
        gzip.compress(TEXT) + b"\0" * 700_000,
        zipped(("data.csv", TEXT)),
        zipped(("data.csv", TEXT), method=zipfile.ZIP_STORED),
        zipped(("2026/", b""), ("2026/data.csv", TEXT), ("__MACOSX/2026/._data.csv", b"x"), ("2026/.DS_Store", b"x")),
        zipped(("../../etc/cron.d/x", TEXT)),
    ],
    ids=["plain", "gzip", "members", "padded", "zip", "stored", "furniture", "slip"],
)
def test_the_content_comes_out_whole(tmp_path: Path, packed: bytes) -> None:
    assert unpacked(tmp_path, packed) == TEXT


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=6), st.integers(1, 64))
def test_gzip_members_join_whatever_piece_they_are_read_in(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], chunk_bytes: int
) -> None:
    content = b"x" + b"".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacking, "CHUNK_BYTES", chunk_bytes)
        packed = gzip.compress(b"x") + b"".join(gzip.compress(part) for part in parts)
        assert unpacked(tmp_path_factory.mktemp("members"), packed) == content


def encrypted() -> bytes:
    packed = bytearray(zipped(("secret.csv", TEXT)))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    return bytes(packed)


def lying(stated_bytes: int) -> bytes:
    """A zip whose directory states another size, and the checksum of just so many bytes."""
    packed = bytearray(zipped(("data.csv", TEXT)))
    entry = packed.index(b"PK\x01\x02")
    packed[entry + 16 : entry + 20] = zlib.crc32(TEXT[:stated_bytes]).to_bytes(4, "little")
    packed[entry + 24 : entry + 28] = stated_bytes.to_bytes(4, "little")
    return bytes(packed)


def directory_of(count: int) -> bytes:
    return zipped(*((f"{'n' * 200}{n}.csv", b"") for n in range(count)))


BAD: list[tuple[str, Callable[[], bytes], str]] = [
    ("truncated", lambda: gzip.compress(TEXT)[:-9], "the gzip file breaks off after 4.*truncated; upload it again"),
    ("no trailer", lambda: gzip.compress(TEXT)[:-1], "breaks off"),
    ("only a header", lambda: gzip.compress(TEXT)[:5], "breaks off after 0"),
    ("checksum", lambda: gzip.compress(TEXT)[:-8] + b"\0" * 8, "the gzip file is damaged.*incorrect data check"),
    ("flipped", lambda: gzip.compress(TEXT)[:500] + b"\xff" * 100 + gzip.compress(TEXT)[600:], "gzip file is damaged"),
    ("garbage", lambda: gzip.compress(TEXT) + b"\nbye", "behind the end of the gzip data there is something else"),
    ("truncated zip", lambda: zipped(("a.csv", TEXT))[:-200], "the zip file is damaged"),
    ("flipped zip", lambda: zipped(("a.csv", TEXT)).replace(b"a.csv", b"b.csv", 1), "the zip file is damaged"),
    ("smaller than stated", lambda: lying(len(TEXT) + 1), "the zip file is damaged|should have"),
    ("encrypted", encrypted, "'secret.csv' in the zip is encrypted; deliver it without a password"),
    ("two files", lambda: zipped(("a.csv", TEXT), ("b.csv", b"")), r"the zip holds 2 files \('a.csv', 'b.csv'\)"),
    ("many files", lambda: zipped(*((f"{n}.csv", b"") for n in range(9))), "holds 9 files .*'4.csv', …"),
    ("no file", lambda: zipped(("folder/", b"")), "the zip holds 0 files, exactly one is read"),
    ("empty zip", zipped, "the zip holds 0 files"),
    ("xlsx", lambda: zipped(("[Content_Types].xml", b""), ("xl/a.xml", b"")), "an Office document .* save the sheet"),
    ("lzma", lambda: zipped(("a.csv", TEXT), method=zipfile.ZIP_LZMA), "compressed by method 14; only Deflate"),
    ("large directory", lambda: directory_of(5000), "the zip's directory has 1,.* bytes"),
    ("twice", lambda: gzip.compress(gzip.compress(TEXT)), "compressed twice"),
    ("zip in zip", lambda: zipped(("a.zip", zipped(("a.csv", TEXT)))), "compressed twice"),
    ("tar", lambda: gzip.compress(b"data.csv".ljust(257, b"\0") + b"ustar\0" + b"00"), "it is a tar file"),
    ("xz", lambda: b"\xfd7zXZ\x00\x00", "it is a xz file, which is not read; deliver it as it is, or as gzip or zip"),
    ("bzip2", lambda: b"BZh91AY&SY", "it is a bzip2 file"),
]


@pytest.mark.parametrize(("packed", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_cannot_be_unpacked_is_rejected_with_the_reason(
    tmp_path: Path, packed: Callable[[], bytes], said: str
) -> None:
    with pytest.raises(Rejected, match=said):
        unpacked(tmp_path, packed())


def test_a_zip_that_states_too_little_gives_no_more_than_it_states(tmp_path: Path) -> None:
    assert unpacked(tmp_path, lying(1000)) == TEXT[:1000]


@pytest.mark.parametrize("pack", [gzip.compress, lambda text: zipped(("a.csv", text))])
def test_content_beyond_the_limit_is_refused_when_it_is_reached(tmp_path: Path, pack: Any) -> None:
    with pytest.raises(Rejected, match=r"more than 100,000 bytes; split it, or raise limits\.decompressed_bytes_max"):
        unpacked(tmp_path, pack(TEXT), limits(decompressed_bytes_max=100_000))
    assert unpacked(tmp_path, pack(TEXT), limits(decompressed_bytes_max=len(TEXT))) == TEXT


def zeros(megabytes: int) -> bytes:
    """Return gzip of so many megabytes of zeros, a thousandth of their size."""
    member = gzip.compress(bytes(1_000_000))
    return member * megabytes


@pytest.mark.parametrize("kind", ["gzip", "zip"])
def test_a_bomb_is_refused_early_in_little_memory(tmp_path: Path, kind: str) -> None:
    packed = zeros(10_000) if kind == "gzip" else zipped(("a.csv", bytes(200_000_000)))
    tracemalloc.start()
    with pytest.raises(Rejected, match=r"unpack to 67,\d{3},\d{3}, more than limits.decompression_ratio_max \(100\)"):
        unpacked(tmp_path, packed)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 30_000_000  # the packed bytes that the test itself holds are not traced


def test_a_column_of_zeros_is_no_bomb(tmp_path: Path) -> None:
    assert len(unpacked(tmp_path, zeros(60))) == 60_000_000
    assert len(unpacked(tmp_path, zeros(80), limits(decompression_ratio_max=2000))) == 80_000_000


@settings(max_examples=150, deadline=None)
@given(
    st.booleans(), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6), st.data()
)
def test_damage_is_a_verdict_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, is_zip: bool, changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    content = TEXT[:600]
    packed = bytearray(zipped(("a.csv", content)) if is_zip else gzip.compress(content))
    for position, value in changes:
        packed[position % len(packed)] = value
    cut = bytes(packed[: data.draw(st.integers(5, len(packed)))])
    path = tmp_path_factory.mktemp("damage") / "object"
    path.write_bytes(cut)
    try:
        unpack(path, limits())
    except Rejected:
        return
    # The bytes that name and date a member are not covered by a checksum; whoever changes the signature has a plain file.
    assert path.read_bytes() in (content, cut) or is_zip
