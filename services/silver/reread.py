"""Open a landed file as records, whatever its declared format; and find the raw text of single lines again."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from services.silver.csvfile import read_csv
from services.silver.jsonfile import read_json
from services.silver.jsonlines import read_json_lines
from services.silver.record import Records
from shared.dataset import Dataset
from shared.settings import Settings


def read_records(file: BinaryIO, dataset: Dataset, settings: Settings) -> Iterator[Records]:
    """Yield the records of a file by the dataset's declared format."""
    read = {"csv": read_csv, "json": read_json, "jsonl": read_json_lines}[dataset.format.type]
    return read(file, dataset, settings.block_bytes, settings.batch_rows_max)


def raw_of_lines(path: Path, dataset: Dataset, settings: Settings, lines: set[int]) -> dict[int, str]:
    """Return the text of given lines as delivered; reads the file once more, which only rare verdicts need."""
    found: dict[int, str] = {}
    with path.open("rb") as file:
        for records in read_records(file, dataset, settings):
            for index, line in enumerate(records.line_numbers.tolist()):
                if line in lines:
                    found[line] = records.raw(index)
    return found
