"""What a file looks like: the formats that a contract may declare, with their dialects and encodings."""

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from shared.part import Part


def _known_encoding(name: str) -> str:
    """Return Python's name of an encoding; raises ValueError for what is none, or none of text (base64, zip, …)."""
    sample = "a;1\n"
    try:
        if codecs.getincrementaldecoder(name)().decode(sample.encode(name), final=True) == sample:
            return codecs.lookup(name).name
    except (LookupError, ValueError, TypeError, AttributeError):
        pass
    raise ValueError(f"{name!r} is no text encoding that Python knows (utf-8, utf-16, latin-1, cp1252, shift_jis, …)")


Encoding = Annotated[
    str, AfterValidator(_known_encoding), Field(description="As Python names it: utf-8, utf-16, cp1252, shift_jis, …")
]


class CsvFormat(Part):
    """A CSV dialect, declared and never sniffed."""

    type: Literal["csv"] = Field(description="Records of cells (RFC 4180).")
    encoding: Encoding = "utf-8"
    delimiter: str = Field(",", min_length=1, max_length=1, description="Between cells.")
    quote: str | None = Field('"', min_length=1, max_length=1, description="null: cells are never quoted.")
    escape: str | None = Field(None, min_length=1, max_length=1, description="Takes the next character as it is.")
    header: bool = Field(True, description="false: the cells are the contract's columns, in their order.")
    skip_lines: int = Field(0, ge=0, le=1000, description="Lines before the header, or before the first record.")
    comment: str | None = Field(
        None, min_length=1, max_length=10, description="Lines that begin with it are no records."
    )
    null_values: tuple[str, ...] = Field(("",), description="Cells that mean: no value.")
    decimal: Literal[".", ","] = Field(".", description="Before the places of a number.")
    thousands: str | None = Field(None, min_length=1, max_length=1, description="Between groups of three digits.")

    @model_validator(mode="after")
    def _characters_differ(self) -> "CsvFormat":
        marks = [mark for mark in (self.delimiter, self.quote, self.escape, self.comment) if mark is not None]
        if len(set(marks)) < len(marks) or any(c in mark for mark in marks for c in "\n\r\0"):
            raise ValueError("delimiter, quote, escape and comment must differ from each other and hold no line break")
        if self.thousands and (self.thousands == self.decimal or self.thousands in "+-0123456789"):
            raise ValueError(
                f"thousands: {self.thousands!r} cannot part the digits of a number; usual are . , ' and a space"
            )
        return self


class JsonFormat(Part):
    """A JSON array of objects; a column's `from` is a dotted path into each."""

    type: Literal["json"] = Field(description="One array of objects.")
    encoding: Encoding = "utf-8"


class JsonLinesFormat(Part):
    """One JSON object a line; a column's `from` is a dotted path into each."""

    type: Literal["jsonl"] = Field(description="One object a line.")
    encoding: Encoding = "utf-8"


Format = Annotated[CsvFormat | JsonFormat | JsonLinesFormat, Field(discriminator="type")]
