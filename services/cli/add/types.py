"""Which type to declare for a column: what fits every value, and in words what was not certain about it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.cli.add.candidates import NUMERALS, YEAR_FIRST, Candidate, Shape
from services.cli.add.profile import Profile
from services.silver.numerals import POINT, Marks
from services.silver.record import shortened

INT64_DIGITS_MAX, DECIMAL_DIGITS_MAX, SCALE_MAX, USUAL_PRECISION = 18, 38, 18, 18
DIGITS_SPARE = 4  # before the point, for numbers larger than those of the sample
# Fewer misfits than this in a column of a hundred values and more are taken for mistakes in the data.
MISFITS_MAX_SHARE, VALUES_MIN = 0.01, 100
_COMPACT_DATE = re.compile(r"(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])")


@dataclass(frozen=True)
class Decision:
    """The declaration of a column's values, and what is to be said about it."""

    declared: dict[str, Any]  # type, and what it needs
    note: str = ""
    readings: tuple[str, ...] = ()  # what to choose from, as `--type` takes them, where values can be read both ways
    null_words: tuple[str, ...] = ()  # written where there is no value


def file_marks(profiles: Sequence[Profile]) -> tuple[Marks, bool]:
    """Return how a file writes its numbers, and whether a comma in them could as well part thousands."""
    votes = {marks: sum(_is_numeric(profile, marks) for profile in profiles) for marks in NUMERALS}
    best = max(NUMERALS, key=lambda marks: (votes[marks], -NUMERALS.index(marks)))
    is_open = best == Marks(",") and votes[Marks(".", ",")] == votes[best]
    return best, is_open


def _is_numeric(profile: Profile, marks: Marks) -> bool:
    """Say whether a column's values are numbers written so, but for mistakes."""
    reading = next((r for r in profile.readings if r.kind == "number" and r.marks == marks), None)
    return reading is not None and profile.values > 0 and _mistakes(profile, reading) is not None


def _mistakes(profile: Profile, reading: Candidate) -> int | None:
    """Return how many values a reading does not fit, where they are few enough to be mistakes in the data."""
    misfits = profile.values - reading.fits
    allowed = MISFITS_MAX_SHARE * profile.values if profile.values >= VALUES_MIN else 0
    return misfits if misfits <= allowed else None


def decide(profile: Profile, marks: Marks, is_json: bool) -> Decision:
    """Return what to declare for a column by all of its values."""
    if not profile.values:
        seen = ", ".join(profile.words)
        return Decision({"type": "text"}, f"no value in the sample{f' but {seen}' if seen else ''}: the type is open")
    found = _number(profile, marks) or _word(profile) or _moment(profile, "date") or _moment(profile, "timestamp")
    if found is None and profile.is_document:
        found = Decision({"type": "json"}) if profile.perfect("json") else _text(profile)
    found = found or _nearly(profile, marks) or _text(profile)
    if found.declared["type"] != "text" and profile.words and not is_json:
        words = tuple(profile.words)
        said = ", ".join(f"{word!r} ({profile.words[word]:,}×)" for word in words)
        return Decision(found.declared, _joined(found.note, f"read as no value: {said}"), found.readings, words)
    return found


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _word(profile: Profile) -> Decision | None:
    return Decision({"type": "boolean"}) if profile.perfect("boolean") else None


def _number(profile: Profile, marks: Marks) -> Decision | None:
    found = next((r for r in profile.perfect("number") if r.marks == marks), None)
    return _of_shape(found.shape, profile) if found else None


def _of_shape(shape: Shape, profile: Profile) -> Decision:
    """Return the type that takes numbers of some shape exactly."""
    if shape.leading_zero is not None:
        return Decision(
            {"type": "text"}, f"digits, but {shape.leading_zero!r} begins with a zero that a number would lose"
        )
    digits = shape.whole + shape.places
    if shape.has_exponent or (shape.places and (digits > DECIMAL_DIGITS_MAX or shape.places > SCALE_MAX)):
        return Decision({"type": "double"}, "floating point, as exponents or very many digits are written")
    if digits > DECIMAL_DIGITS_MAX:
        return Decision({"type": "text"}, f"numbers of up to {digits} digits, more than any exact type holds")
    if shape.places:
        precision = min(max(USUAL_PRECISION, digits + DIGITS_SPARE), DECIMAL_DIGITS_MAX)
        return Decision({"type": "decimal", "precision": precision, "scale": shape.places})
    if shape.whole > INT64_DIGITS_MAX:
        return Decision({"type": "decimal", "precision": DECIMAL_DIGITS_MAX, "scale": 0}, "too large for 64 bits")
    if all(_COMPACT_DATE.fullmatch(text) for text in profile.examples):
        return Decision({"type": "integer"}, 'may be dates: `type: date, format: "%Y%m%d"` would read them')
    return Decision({"type": "integer"})


def _moment(profile: Profile, kind: str) -> Decision | None:
    """Return a date or timestamp that fits; text, with the readings, where more than one does."""
    fitting = profile.perfect(kind)
    if not fitting:
        return None
    patterns = _differing([r.pattern for r in fitting])
    if len(patterns) > 1:
        readings = tuple(f"{kind}:{pattern}" if pattern else kind for pattern in patterns)
        example = profile.examples[0]
        said = " or ".join(reading.partition(":")[2] or "ISO 8601" for reading in readings)
        return Decision(
            {"type": "text"}, f"{example!r} can be read as {said}, and no value tells which: left as text", readings
        )
    return _of_pattern(profile, kind, next(r for r in fitting if r.pattern == patterns[0]))


def _differing(patterns: Sequence[str | None]) -> list[str | None]:
    """Return the patterns that read something else than those before them, and are believable beside them."""
    found: dict[str | None, str | None] = {}
    for pattern in patterns:
        year_first = YEAR_FIRST.get((pattern or "")[:8])
        if year_first and (None in patterns or year_first + (pattern or "")[8:] in patterns):
            continue
        found.setdefault(pattern and pattern.replace("%B", "%b"), pattern)  # May is short and long at once
    return list(found.values())


def _of_pattern(profile: Profile, kind: str, reading: Candidate) -> Decision:
    notes = []
    if reading.pattern in YEAR_FIRST:
        notes.append(f"year, day, month: {profile.examples[0]!r}. Unusual; make sure that the publisher means it")
    if kind == "timestamp" and not (reading.pattern or "").endswith("%z"):
        has_zone = reading.pattern is None and re.search(r"(Z|[+-][0-9]{2}:?[0-9]{2})$", profile.examples[0])
        notes += [] if has_zone else ["without a time zone: read as UTC"]
    is_plain = reading.pattern is None or (kind == "date" and reading.pattern == "%Y-%m-%d")
    return Decision({"type": kind} | ({} if is_plain else {"format": reading.pattern}), _joined(*notes))


def _nearly(profile: Profile, marks: Marks) -> Decision | None:
    """Return the type that fits all but a few of many values: those are then mistakes, and their rows set aside."""
    for kind in ("number", "date", "timestamp"):
        found = [r for r in profile.nearly(kind) if kind != "number" or r.marks == marks]
        best = [r for r in found if r.fits == found[0].fits]
        if len(best) != 1 or not (misfits := _mistakes(profile, best[0])):
            continue
        decision = _of_shape(best[0].shape, profile) if kind == "number" else _of_pattern(profile, kind, best[0])
        if decision.declared["type"] == "text":
            return decision
        misfit = best[0].misfit or ""
        note = (
            f"{misfits:,} of {profile.values:,} values are none (line {profile.misfit_lines.get(misfit, 0)}: "
            f"{shortened(misfit, 30)!r}): their rows go to quarantine"
        )
        return Decision(decision.declared, _joined(decision.note, note))
    return None


def _text(profile: Profile) -> Decision:
    example = profile.examples[0]
    best = max((r for r in profile.readings if r.kind != "json"), key=lambda r: r.fits, default=None)
    if profile.padded and any(r.strip() != r and re.fullmatch(r"\s*[-+0-9.,]+\s*", r) for r in profile.examples):
        return Decision({"type": "text"}, f"numbers with white space around them, as {example!r}: left as text")
    if best is not None and best.misfit is not None:
        share = best.fits / profile.values
        line = profile.misfit_lines.get(best.misfit, 0)
        return Decision(
            {"type": "text"},
            f"{share:.0%} of the values are {_kind(best)}, but line {line} has {shortened(best.misfit, 30)!r}: left as text",
        )
    if re.fullmatch(r"[-+]?[0-9.,]+\s?%", example):
        return Decision({"type": "text"}, f"percentages, as {example!r}: left as text")
    if re.fullmatch(r"[-(]?\s?[$€£¥]\s?[0-9].*|[-0-9.,' ]+\s?(€|£|¥|\$|EUR|USD|GBP|CHF)", example):
        return Decision({"type": "text"}, f"amounts with their currency, as {example!r}: left as text")
    if profile.perfect("json"):
        return Decision({"type": "text"}, "every value is JSON: `type: json` would keep it as such")
    return Decision({"type": "text"})


def _kind(reading: Candidate) -> str:
    if reading.kind == "number":
        return "numbers" if reading.marks == POINT else f"numbers written like {reading.marks.sample}"
    return f"{reading.kind}s" + (f" written as {reading.pattern}" if reading.pattern else "")
