"""User metadata of objects: text of any language in headers of ASCII."""

import base64
import binascii
from collections.abc import Mapping

HEADER = "x-amz-meta-"
_ENCODED = ("=?utf-8?b?", "?=")


def encode_metadata(value: str) -> str:
    """Return text as headers can carry it: unchanged if plain ASCII, else an RFC 2047 word, as S3 does it."""
    is_plain = value.isascii() and value.isprintable() and value == " ".join(value.split())
    if is_plain and not value.startswith(_ENCODED[0]):
        return value
    return base64.b64encode(value.encode()).decode().join(_ENCODED)


def decode_metadata(value: str) -> str:
    """Return the text that `encode_metadata` was given; what it did not write stays as it is."""
    if not (value.lower().startswith(_ENCODED[0]) and value.endswith(_ENCODED[1])):
        return value
    try:
        return base64.b64decode(value[len(_ENCODED[0]) : -len(_ENCODED[1])], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value


def encoded(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata as headers carry it, without their prefix."""
    return {name.lower(): encode_metadata(value) for name, value in metadata.items()}


def decoded(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata among headers, whose names are in lower case."""
    return {
        name.removeprefix(HEADER): decode_metadata(value) for name, value in headers.items() if name.startswith(HEADER)
    }
