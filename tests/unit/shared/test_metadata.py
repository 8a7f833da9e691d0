"""Object metadata is text of any language in headers of ASCII."""

from hypothesis import example, given
from hypothesis import strategies as st

from shared.adapters.s3metadata import decode_metadata, encode_metadata


@given(st.text())
@example("=?utf-8?b?eA==?=")
@example("two  spaces ")
def test_any_text_survives_the_headers(value: str) -> None:
    encoded = encode_metadata(value)

    assert encoded.isascii()
    assert decode_metadata(encoded) == value


def test_plain_text_stays_readable() -> None:
    assert encode_metadata("2026-01-01T00:00:00.000001+00:00") == "2026-01-01T00:00:00.000001+00:00"


def test_what_others_wrote_is_left_alone() -> None:
    assert decode_metadata("=?utf-8?b?not base64?=") == "=?utf-8?b?not base64?="
