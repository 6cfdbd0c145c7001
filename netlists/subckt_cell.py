"""Bring your own cell: any SPICE subcircuit between a drive, a sense and a gate line."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from netlists.devices import OhmicRram, require_positive
from netlists.errors import InputError

ROLES = ("drive", "sense", "gate")
GateLine = Literal["row", "column"]


def require_gate_line(owner: str, value: str) -> None:
    """Raise InputError unless `value` says what a gate line serves."""
    if value not in ("row", "column"):
        raise InputError(f"{owner}: gate_line={value!r} must be 'row' or 'column'.")


def subckt_ports(path: Path, name: str) -> tuple[str, ...]:
    """Port names of `.subckt name` in a SPICE file, in order, lower case.

    Raises InputError when the file cannot be read or does not define the subcircuit.
    """
    try:
        text = path.read_text()
    except OSError as problem:
        raise InputError(f"SubcktCell: {path} cannot be read: {problem.strerror}.") from None
    lines = re.sub(r"\n\s*\+", " ", text).lower().splitlines()
    found = []
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == ".subckt":
            if words[1] == name.lower():
                ports = words[2:]
                end = next(
                    (k for k, w in enumerate(ports) if "=" in w or w in ("params:", ";", "$")),
                    len(ports),
                )
                # A parameter may be written "g = 1": its name is no port.
                return tuple(ports[: end - 1] if ports[end : end + 1] == ["="] else ports[:end])
            found.append(words[1])
    known = ", ".join(found) or "none"
    raise InputError(f"SubcktCell: {path} defines no .subckt {name!r} (it defines: {known}).")


@dataclass(frozen=True, kw_only=True)
class SubcktCell:
    """A cell whose netlist is a subcircuit in a SPICE file, for instance from a process kit.

    path: the file; it is included, so what it includes itself is found relative to it.
    name: the subcircuit.  ports: which of its ports is "drive", "sense" and, where there is one,
    "gate".  parameter: the subcircuit's parameter that sets the memory's state; it takes the
    memory's conductance, S, so that the cell is near g in series with what else it holds.
    states: that conductance for "lrs" and "hrs", S.  v_gate: voltage of the gate line, V.
    gate_line: what one gate line serves, a row of cells or a column.
    sha256 of the file is part of the cell: a changed file is another cell and is calibrated anew.

    Raises InputError when file, subcircuit, ports or states do not fit each other.
    """

    n_rram: ClassVar[int] = 1
    path: Path
    name: str
    ports: Mapping[str, str] = field(hash=False)
    states: Mapping[str, float] = field(hash=False)
    parameter: str = "g"
    v_gate: float = 1.2
    gate_line: GateLine = field(default="row", repr=False, compare=False)
    sha256: str = field(init=False)
    nodes: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        path = Path(self.path).resolve()
        order = subckt_ports(path, self.name)
        role_of = {port.lower(): role for role, port in self.ports.items()}
        unknown = set(self.ports) - set(ROLES)
        if unknown or not {"drive", "sense"} <= set(self.ports):
            raise InputError(
                f"SubcktCell: ports={dict(self.ports)!r} must name 'drive', 'sense' and, where "
                "the subcircuit has one, 'gate'."
            )
        if sorted(role_of) != sorted(order):
            raise InputError(
                f"SubcktCell: ports={dict(self.ports)!r} do not match .subckt {self.name} "
                f"{' '.join(order)}; give each of its ports one role."
            )
        if set(self.states) != {"lrs", "hrs"}:
            raise InputError(
                f"SubcktCell: states={dict(self.states)!r} must give 'lrs' and 'hrs' in siemens."
            )
        require_positive("SubcktCell", **self.states)
        require_gate_line("SubcktCell", self.gate_line)
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "nodes", tuple(role_of[port] for port in order))
        object.__setattr__(self, "sha256", hashlib.sha256(path.read_bytes()).hexdigest())

    @property
    def rram(self) -> OhmicRram:
        """The two states as an ohmic memory; raises InputError when LRS is not the larger."""
        return OhmicRram(r_lrs=1.0 / self.states["lrs"], r_hrs=1.0 / self.states["hrs"])
