"""What all sections of a TOML file share."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Part of a file: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
