"""Tables that name a kind and give its parameters: one table, one frozen dataclass.

The kinds are dataclasses of the toolkit; what they take is read off their fields, so that a new
kind is a new dataclass and nothing else.
"""

import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from netlists.errors import InputError
from validation.files.base import Section, findings

Made = TypeVar("Made")


class KindSection(Section):
    """kind: which dataclass.  Every key that the section does not declare is a field of it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str

    @property
    def parameters(self) -> dict[str, Any]:
        """The fields that were given, as TOML has them."""
        return dict(self.model_extra or {})

    def made(self, kinds: Mapping[str, type[Made]], *, key: str, **given: Any) -> Made:
        """The dataclass of this kind with these parameters, types checked.

        key: what errors call the table.  given: fields that come from elsewhere.
        Raises InputError for a kind or a field that there is not, and for values that it refuses.
        """
        if self.kind not in kinds:
            raise InputError(
                f"{key}.kind = {self.kind!r} is not one of {', '.join(kinds)}"
                f"{_meant(self.kind, kinds)}."
            )
        kind: Any = kinds[self.kind]
        known = [field.name for field in dataclasses.fields(kind) if field.init]
        for name in self.parameters:
            if name not in known or name in given:
                mine = [one for one in known if one not in given]
                takes = f"takes {', '.join(mine)}" if mine else "takes no keys"
                raise InputError(
                    f"{key}: kind = {self.kind!r} has no key {name!r}{_meant(name, mine)}; it "
                    f"{takes}."
                )
        try:
            made: Made = TypeAdapter(kind).validate_python({**self.parameters, **given})
        except ValidationError as problem:
            raise InputError(f"{findings(problem, inside=key)}.") from None
        return made


def _meant(name: str, names: Any) -> str:
    near = get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
