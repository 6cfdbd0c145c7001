"""[cell]: the memory and how it is accessed."""

from pathlib import Path
from typing import Literal, Self

from pydantic import PrivateAttr, ValidationInfo, field_validator, model_validator

from circuitsim.cells.calibrate_secant import measure_states
from netlists import (
    Bsim4Nmos,
    Cell,
    InputError,
    Level1Nmos,
    OhmicRram,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    Rram,
    SinhRram,
    SubcktCell,
    VteamRram,
    YakopcicRram,
)
from validation.files.base import Section, beside_file

MEMORIES: dict[str, type[Rram]] = {
    "ohmic": OhmicRram,
    "sinh": SinhRram,
    "yakopcic": YakopcicRram,
    "vteam": VteamRram,
}
CellKind = Literal["1r", "1t1r", "1t2r", "subckt"]
# Keys that one family of kinds has and the other has not.
OF_SUBCKT = frozenset(
    {"path", "section", "name", "ports", "states", "parameter", "osdi", "libraries"}
)
OF_BUILT_IN = frozenset({"memory", "transistor", "r_lrs", "r_hrs", "drive_line"})


class CellSection(Section):
    """[cell]: the memory's model and two states in ohm, and how it is accessed.

    r_lrs, r_hrs: left out, they are the model's own.
    For kind = "subckt", the fields of `netlists.SubcktCell`: path, osdi and libraries (relative to
    the TOML file), section, name, ports, states, parameter, v_gate, gate_line. A file cannot grant
    trust to itself: that is the caller's, `--trust`. `osdi` is machine code and needs it.
    """

    kind: CellKind = "1t1r"
    memory: Literal["ohmic", "sinh", "yakopcic", "vteam"] = "ohmic"
    transistor: Literal["level1", "bsim4"] = "level1"
    r_lrs: float | None = None
    r_hrs: float | None = None
    v_gate: float = 1.2
    drive_line: Literal["BL", "SL"] = "BL"
    gate_line: Literal["row", "column"] = "row"
    path: str | None = None
    section: str | None = None
    name: str | None = None
    ports: dict[str, str] | None = None
    states: dict[str, float | dict[str, float]] | None = None
    parameter: str = "g"
    osdi: str | None = None
    libraries: tuple[str, ...] = ()
    _trust: bool = PrivateAttr(default=False)

    @field_validator("path", "osdi")
    @classmethod
    def _beside_the_file(cls, path: str | None, info: ValidationInfo) -> str | None:
        return beside_file(path, info.context)

    @field_validator("libraries")
    @classmethod
    def _folders_beside_the_file(
        cls, folders: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        return tuple(str(beside_file(folder, info.context)) for folder in folders)

    @model_validator(mode="after")
    def _as_the_caller_trusts(self, info: ValidationInfo) -> Self:
        self._trust = bool((info.context or {}).get("trust"))
        return self

    def _subckt(self) -> SubcktCell:
        needed = ("path", "name", "ports", "states")
        missing = [key for key in needed if getattr(self, key) is None]
        if missing:
            raise InputError(f"[cell] kind = 'subckt' needs {', '.join(map(repr, missing))}.")
        assert self.path and self.name and self.ports and self.states
        if self.osdi is not None and not self._trust:
            raise InputError(
                f"[cell] osdi = {self.osdi!r} is machine code, which ngspice would run with your "
                "rights; where you trust it, pass --trust."
            )
        cell = SubcktCell(
            path=Path(self.path),
            section=self.section,
            name=self.name,
            ports=self.ports,
            states=self.states,
            parameter=self.parameter,
            v_gate=self.v_gate,
            gate_line=self.gate_line,
            osdi=None if self.osdi is None else Path(self.osdi),
            libraries=tuple(map(Path, self.libraries)),
            trust=self._trust,
        )
        return measure_states(cell)

    def build(self, kind: CellKind | None = None) -> Cell:
        """The cell, of `kind` where one is given; a subcircuit's states are measured if need be."""
        kind = kind or self.kind
        if kind == "subckt":
            return self._subckt()
        states = {"r_lrs": self.r_lrs, "r_hrs": self.r_hrs}
        rram = MEMORIES[self.memory](**{k: v for k, v in states.items() if v is not None})
        if kind == "1r":
            return OneR(rram=rram)
        made = OneTransistorOneR if kind == "1t1r" else OneTransistorTwoR
        nmos = Level1Nmos() if self.transistor == "level1" else Bsim4Nmos()
        return made(
            rram=rram,
            nmos=nmos,
            v_gate=self.v_gate,
            drive_line=self.drive_line,
            gate_line=self.gate_line,
        )


class OneCell(Section):
    """A file about one cell: keys of another kind would be ignored, so they are refused."""

    cell: CellSection = CellSection()

    @model_validator(mode="after")
    def _cell_keys_fit_its_kind(self) -> Self:
        other = OF_BUILT_IN if self.cell.kind == "subckt" else OF_SUBCKT
        strange = sorted(self.cell.model_fields_set & other)
        if strange:
            raise ValueError(f"[cell] kind = {self.cell.kind!r} has no key {strange[0]!r}")
        return self
