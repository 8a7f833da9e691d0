"""A compressed body is unpacked whole or refused, however it arrives."""

import gzip
import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestor.transfer import CHUNK_BYTES, CutOff, body

CONTENT = b"id,name\n1,one\n" * 40_000  # more than a piece, from a few hundred bytes


class Wire:
    """Bytes that arrive a few at a time."""

    def __init__(self, sent: bytes, step: int) -> None:
        self._sent, self._step = io.BytesIO(sent), step

    def read1(self, amt: int, *, decode_content: bool) -> bytes:
        assert not decode_content
        return self._sent.read(min(amt, self._step))


def arrived(sent: bytes, encoding: str = "gzip", step: int = 100) -> bytes:
    pieces = list(body(Wire(sent, step), encoding))
    assert all(0 < len(piece) <= CHUNK_BYTES for piece in pieces)
    return b"".join(pieces)


@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=3), st.integers(1, 400), st.sampled_from([b"", b"\0" * 9])
)
def test_members_arrive_whole_whatever_the_pieces(members: list[bytes], step: int, behind: bytes) -> None:
    sent = b"".join(map(gzip.compress, members)) + behind
    assert arrived(sent, step=step) == b"".join(members)


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_content_far_larger_than_what_is_sent_comes_in_bounded_pieces(step: int) -> None:
    assert arrived(gzip.compress(CONTENT), step=step) == CONTENT
    assert arrived(zlib.compress(CONTENT), "deflate", step) == CONTENT
    assert arrived(CONTENT[:99], "", step) == CONTENT[:99]


@given(st.integers(0, len(gzip.compress(CONTENT)) - 1))
def test_a_body_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(CutOff, match="cut off"):
        arrived(gzip.compress(CONTENT, mtime=0)[:length])


def test_a_damaged_body_is_refused() -> None:
    with pytest.raises(CutOff, match="damaged"):
        arrived(b"no gzip at all")
