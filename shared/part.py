"""What every part of a contract is: frozen, and refusing names that it does not know."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a dataset's contract."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
