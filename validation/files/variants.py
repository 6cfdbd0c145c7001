"""[[mitigation]] and [[variant]]: what is done against faults, and in which combinations."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from netlists.errors import InputError
from validation.files.base import Section
from validation.files.keys import Raw, element, label
from validation.files.kind_section import KindSection

NONE = "none"  # the variant without a mitigation


class MitigationSection(KindSection):
    """One of [[mitigation]]: a kind, its fields, and a name by which variants call it.

    name: the kind where left out.
    """

    name: str | None = Field(default=None, min_length=1)


class VariantSection(Section):
    """One of [[variant]]: mitigations that are used together, by name, in this order."""

    name: str = Field(min_length=1)
    mitigations: tuple[str, ...] = ()


class _Variants(Section):
    mitigation: tuple[MitigationSection, ...] = ()
    variant: tuple[VariantSection, ...] = ()


def variants(raw: Mapping[str, Any]) -> list[VariantSection]:
    """The variants of a study: those it lists; else "none" and each mitigation alone.

    Raises InputError for names that are missing, repeated or unused.
    pydantic.ValidationError: for tables of another form.
    """
    given = {key: raw[key] for key in ("mitigation", "variant") if key in raw}
    tables = _Variants.model_validate(given)
    names = [mitigation.name or mitigation.kind for mitigation in tables.mitigation]
    _require_distinct(names, "mitigation", "give each a name of its own")
    if not tables.variant:
        alone = [VariantSection(name=name, mitigations=(name,)) for name in names]
        return [VariantSection(name=NONE), *alone]
    _require_distinct([variant.name for variant in tables.variant], "variant", "rename one")
    first: dict[tuple[str, ...], str] = {}
    for variant in tables.variant:
        for name in variant.mitigations:
            if name not in names:
                raise InputError(
                    f"[[variant]] {variant.name!r} names the mitigation {name!r}, and there are "
                    f"{', '.join(map(repr, names)) or 'none'}."
                )
        _require_distinct(list(variant.mitigations), f"variant]] {variant.name!r} [[mitigation")
        same = first.setdefault(variant.mitigations, variant.name)
        if same != variant.name:
            raise InputError(f"[[variant]] {same!r} and {variant.name!r} are the same; drop one.")
    used = {name for variant in tables.variant for name in variant.mitigations}
    for name in names:
        if name not in used:
            raise InputError(f"[[mitigation]] {name!r} is in no [[variant]]; drop it or use it.")
    return list(tables.variant)


def with_variant(raw: Mapping[str, Any], variant: VariantSection) -> Raw:
    """What the file would say if it had this variant alone: its name, and its mitigations."""
    tables = raw.get("mitigation", [])
    places = [element(tables, name, f"mitigation.{name}") for name in variant.mitigations]
    return {**raw, "variant": variant.name, "mitigation": [tables[k] for k in places]}


def concerns(key: str, raw: Mapping[str, Any], variant: VariantSection) -> bool:
    """Whether a key of the study says anything about this variant."""
    parts = key.split(".")
    if parts[0] != "mitigation" or len(parts) < 2:
        return True
    tables = raw.get("mitigation", [])
    k = element(tables, parts[1], key)
    return label(tables[k], k) in variant.mitigations


def _require_distinct(names: list[str], what: str, mend: str = "name it once") -> None:
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"[[{what}]] {name!r} is there twice; {mend}.")
