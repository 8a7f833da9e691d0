"""In which encoding a file is, by all of its bytes: a byte order mark, else UTF-8 if it holds, else a guess that says so."""

import codecs
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Rejected

CHUNK_BYTES = 1 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# A file that is UTF-8 but for a few damaged cells has far more good sequences than bad bytes.
_GOOD_FOR_EACH_BAD = 4
_OTHERS = ("cp1250", "cp1251", "cp437", "mac_roman", "shift_jis", "gb18030")


@dataclass(frozen=True)
class Encoding:
    """An encoding to declare, and what speaks against it."""

    name: str
    notes: tuple[str, ...] = ()


@dataclass
class _Count:
    good: int = 0  # characters beyond ASCII
    bad: int = 0  # bytes that are not UTF-8
    line: int = 0  # of the first of those
    excerpt: bytes = b""  # around it


def detect(path: Path, name: str) -> Encoding:
    """Return a file's encoding after reading it to its end; raises Rejected when there is none to be guessed."""
    with path.open("rb") as file:
        head = file.read(CHUNK_BYTES)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return Encoding(encoding)
    wide = _wide(head[:65_536])
    if wide:
        return Encoding(wide, (f"encoding: {wide} is a guess, by the zeros between the letters; there is no mark",))
    found = _count(path)
    if not found.bad:
        return Encoding("utf-8")
    where = f"line {found.line} holds bytes that are not UTF-8"
    if found.good >= _GOOD_FOR_EACH_BAD * found.bad:
        text = found.excerpt.decode("utf-8", "backslashreplace").strip()
        return Encoding("utf-8", (f"encoding: {where} ({text}); such lines go to quarantine ({found.bad} bad bytes)",))
    return _guess(path, name, where, found.excerpt)


def _wide(head: bytes) -> str | None:
    """Return the kind of UTF-16 that a file without a mark is, by where its zeros are."""
    half = max(len(head) // 2, 1)
    for offset, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if head[offset::2].count(0) > 0.6 * half and head[1 - offset :: 2].count(0) < 0.05 * half:
            return encoding
    return None


def _count(path: Path) -> _Count:
    """Count what is UTF-8 and what is not, in all of a file."""
    found, decoder, lines = _Count(), codecs.getincrementaldecoder("utf-8")("surrogateescape"), 1
    with path.open("rb") as file:
        while True:
            data = file.read(CHUNK_BYTES)
            text = decoder.decode(data, final=not data)
            if not text.isascii():
                bad = [i for i, character in enumerate(text) if "\udc80" <= character <= "\udcff"]
                found.good += sum(character > "\x7f" for character in text) - len(bad)
                if bad and not found.bad:
                    found.line = lines + text.count("\n", 0, bad[0])
                    excerpt = text[max(0, bad[0] - 12) : bad[0] + 12]
                    found.excerpt = excerpt.encode("utf-8", "surrogateescape").split(b"\n")[0]
                found.bad += len(bad)
            lines += text.count("\n")
            if not data:
                return found


def _guess(path: Path, name: str, where: str, excerpt: bytes) -> Encoding:
    encoding = next((one for one in ("cp1252", "latin-1") if _reads(path, one)), None)
    if encoding is None:
        raise Rejected(f"{name}: {where}; say which encoding it is with --encoding")
    others = [f"{one} {_shown(excerpt, one)}" for one in _OTHERS]
    return Encoding(
        encoding,
        (
            f"encoding: {encoding} is a guess, as {where}. It reads them as {_shown(excerpt, encoding)}; "
            f"others would as: {', '.join(others)}. --encoding says which is right",
        ),
    )


def _reads(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while data := file.read(CHUNK_BYTES):
                decoder.decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _shown(excerpt: bytes, encoding: str) -> str:
    text = excerpt.decode(encoding, "replace")
    return repr("".join(character if character.isprintable() else "�" for character in text).strip())
