"""Names for datasets and columns out of those that files have."""

import re
import unicodedata
from collections.abc import Collection, Sequence

from shared.naming import DATASET_NAME_CHARACTERS_MAX, RESERVED

NAME_CHARACTERS_MAX = 63
_TAKEN = ("data_quality_score",)  # every clean table has it


def normalised(text: str, otherwise: str) -> str:
    """Return a text as a name: lower case, words parted by underscores, `otherwise` where nothing is left of it."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss").replace("%", " percent ").replace("#", " number "))
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain)
    name = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    if not name:
        return otherwise
    if not name[0].isalpha():
        name = f"{otherwise.partition('_')[0]}_{name}"
    name = name[:NAME_CHARACTERS_MAX].rstrip("_")
    return f"{name[: NAME_CHARACTERS_MAX - 6]}_value" if name in RESERVED or name in _TAKEN else name


def column_names(origins: Sequence[str]) -> list[str]:
    """Return a name for each column, no two the same."""
    names: list[str] = []
    for position, origin in enumerate(origins, start=1):
        names.append(_unlike(normalised(origin, f"column_{position}"), names))
    return names


def _unlike(name: str, others: Collection[str]) -> str:
    candidate, number = name, 2
    while candidate in others:
        ending = f"_{number}"
        candidate, number = name[: NAME_CHARACTERS_MAX - len(ending)] + ending, number + 1
    return candidate


def dataset_name(file_name: str) -> str:
    """Return a dataset's name for a file, its endings left out."""
    stem = re.sub(r"(\.(csv|tsv|tab|txt|json|jsonl|ndjson|gz|zip))+$", "", file_name, flags=re.IGNORECASE)
    return normalised(stem, "dataset")[:DATASET_NAME_CHARACTERS_MAX].rstrip("_")
