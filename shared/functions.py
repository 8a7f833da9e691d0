"""The fixed table of functions that a dataset's YAML may name for derived columns.

Each takes Arrow arrays of equal length n and returns one array of length n; NULL in any argument gives NULL,
except where a function's sentence says otherwise.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

RATE_TYPE = pa.decimal128(38, 4)
_LINK = re.compile(r"https?://|www\.", re.IGNORECASE)
_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Derivation:
    """A named function: what it takes, what it gives, and how."""

    apply: Callable[[Sequence[pa.Array]], pa.Array]
    column_type: str  # one of shared.dataset.ColumnType
    arguments_min: int
    arguments_max: int
    description: str

    @property
    def arity(self) -> str:
        """The number of arguments, in words."""
        if self.arguments_min == self.arguments_max:
            return f"{self.arguments_min} column{'s' if self.arguments_min != 1 else ''}"
        return f"{self.arguments_min} to {self.arguments_max} columns"


def subtract(arguments: Sequence[pa.Array]) -> pa.Array:
    """Return the first column minus all others."""
    result = arguments[0]
    for other in arguments[1:]:
        result = pc.subtract_checked(result, other)
    return result


def percentage(arguments: Sequence[pa.Array]) -> pa.Array:
    """Return 100 × part / whole, rounded half away from zero to 4 places; NULL where the whole is 0.

    Exact integer arithmetic: a float would round 0.00005 the wrong way now and then.
    """
    part, whole = arguments
    known = pc.and_(pc.and_(part.is_valid(), whole.is_valid()), pc.fill_null(pc.not_equal(whole, 0), False))
    parts, wholes = int64_values(part), int64_values(whole)
    largest = max((float(np.abs(v.astype(np.float64)).max(initial=0)) for v in (parts, wholes)), default=0)
    if largest > 2**62 // 2_000_000:
        return _percentage_exact(part, whole)
    return decimal_array(rounded_quotient(parts * 1_000_000, np.where(wholes == 0, 1, wholes)), known)


def _percentage_exact(part: pa.Array, whole: pa.Array) -> pa.Array:
    """Do the same one value at a time, for numbers whose product leaves 64 bits."""
    places = Decimal("0.0001")
    values = [
        (Decimal(100) * p / Decimal(w)).quantize(places, ROUND_HALF_UP) if p is not None and w else None
        for p, w in zip(part.to_pylist(), whole.to_pylist(), strict=True)
    ]
    return pa.array(values, RATE_TYPE)


def int64_values(array: pa.Array) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Return the values of an integer array, 0 where NULL, shape (n,)."""
    values: np.ndarray[Any, np.dtype[np.int64]] = pc.fill_null(array, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return values


def rounded_quotient(
    numerator: "np.ndarray[Any, np.dtype[np.int64]]", denominator: "np.ndarray[Any, np.dtype[np.int64]] | int"
) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Divide integers, rounding half away from zero; the denominator is never 0."""
    sign = np.sign(numerator) * np.sign(denominator)
    n, d = np.abs(numerator), np.abs(denominator)
    result: np.ndarray[Any, np.dtype[np.int64]] = sign * ((2 * n + d) // (2 * d))
    return result


def decimal_array(scaled: "np.ndarray[Any, np.dtype[np.int64]]", known: pa.Array) -> pa.Array:
    """Return decimals of 4 places from integers in ten-thousandths, NULL where `known` is false.

    Arrow keeps a 128-bit decimal as two 64-bit halves, low first; the high one is the sign.
    """
    halves = np.empty((len(scaled), 2), np.int64)
    halves[:, 0] = scaled
    halves[:, 1] = scaled >> 63
    values = pa.Array.from_buffers(RATE_TYPE, len(scaled), [None, pa.py_buffer(halves.tobytes())])
    return pc.if_else(known, values, pa.scalar(None, RATE_TYPE))


def per_value(function: Callable[[str], Any], result_type: pa.DataType) -> Callable[[Sequence[pa.Array]], pa.Array]:
    """Lift a function of one text to columns, called once per distinct value; NULL stays NULL."""

    def apply(arguments: Sequence[pa.Array]) -> pa.Array:
        encoded = pc.dictionary_encode(arguments[0])
        results = pa.array([function(text) for text in encoded.dictionary.to_pylist()], result_type)
        return results.take(encoded.indices)

    return apply


def known_false(function: Callable[[str], bool]) -> Callable[[Sequence[pa.Array]], pa.Array]:
    """Lift a test of one text to columns; NULL fails the test."""
    lifted = per_value(function, pa.bool_())
    return lambda arguments: pc.fill_null(lifted(arguments), False)


def email_is_valid(text: str) -> bool:
    """Say whether the syntax of an e-mail address is valid; no DNS look-ups."""
    from email_validator import EmailNotValidError, validate_email

    try:
        validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


def email_domain(text: str) -> str | None:
    """Return what follows the last @, in lower case."""
    _, at, domain = text.rpartition("@")
    return domain.strip().lower() or None if at else None


def _parsed_phone(text: str) -> Any:
    import phonenumbers

    try:
        return phonenumbers.parse(text, "US")
    except phonenumbers.NumberParseException:
        return None


def phone_formatted(text: str) -> str | None:
    """Return the number in international format, read as a US number without a country code; NULL if unreadable."""
    import phonenumbers

    number = _parsed_phone(text)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL) if number else None


def phone_is_plausible(text: str) -> bool:
    """Say what the phone library says: whether such a number can exist."""
    import phonenumbers

    number = _parsed_phone(text)
    return bool(number) and phonenumbers.is_valid_number(number)


def url_is_valid(text: str) -> bool:
    """Say whether a text is a whole web or FTP address: a scheme, a host, a port if any, and no white space."""
    from urllib.parse import urlsplit

    if _WORD.fullmatch(text) is None:
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return False
    return parts.scheme in ("http", "https", "ftp") and bool(parts.hostname)


def mean_word_length(text: str) -> Decimal | None:
    """Return characters a word, words being what white space separates, to 4 places; NULL without words."""
    words = _WORD.findall(text)
    if not words:
        return None
    return (Decimal(sum(map(len, words))) / len(words)).quantize(Decimal("0.0001"), ROUND_HALF_UP)


@functools.cache
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def sentiment(arguments: Sequence[pa.Array]) -> pa.Array:
    """Return VADER's compound score, -1 to 1, of the columns' texts joined by line breaks; NULL counts as empty."""
    texts = zip(*(column.to_pylist() for column in arguments), strict=True)
    scores = [_analyzer().polarity_scores("\n".join(t or "" for t in row))["compound"] for row in texts]
    return pa.array([Decimal(str(score)).quantize(Decimal("0.0001")) for score in scores], RATE_TYPE)


DERIVATIONS: Mapping[str, Derivation] = {
    "subtract": Derivation(subtract, "integer", 2, 8, "first column minus the others"),
    "percentage": Derivation(percentage, "decimal", 2, 2, "100 × first / second, 4 places, NULL where second is 0"),
    "length": Derivation(lambda a: pc.utf8_length(a[0]).cast(pa.int64()), "integer", 1, 1, "characters"),
    "word_count": Derivation(per_value(lambda t: len(_WORD.findall(t)), pa.int64()), "integer", 1, 1, "words"),
    "mean_word_length": Derivation(per_value(mean_word_length, RATE_TYPE), "decimal", 1, 1, "characters a word"),
    "has_links": Derivation(
        known_false(lambda t: _LINK.search(t) is not None),
        "boolean",
        1,
        1,
        "contains http://, https:// or www.",
    ),
    "has_digit": Derivation(known_false(lambda t: any(map(str.isdigit, t))), "boolean", 1, 1, "contains a digit"),
    "email_valid": Derivation(known_false(email_is_valid), "boolean", 1, 1, "e-mail syntax (email-validator, no DNS)"),
    "email_domain": Derivation(per_value(email_domain, pa.string()), "text", 1, 1, "what follows the @, lower case"),
    "phone_formatted": Derivation(
        per_value(phone_formatted, pa.string()),
        "text",
        1,
        1,
        "international format (phonenumbers; US by default)",
    ),
    "phone_plausible": Derivation(known_false(phone_is_plausible), "boolean", 1, 1, "a possible number (phonenumbers)"),
    "url_valid": Derivation(known_false(url_is_valid), "boolean", 1, 1, "a whole http, https or ftp address"),
    "sentiment": Derivation(sentiment, "decimal", 1, 4, "VADER compound score, -1 to 1"),
}

# Functions along a series (services/silver/window.py) and the type of what they give.
WINDOW_FUNCTIONS: Mapping[str, Any] = {"daily_change": "integer", "trailing_mean": "decimal"}
