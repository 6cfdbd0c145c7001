"""Bring your own cell: any SPICE subcircuit between a drive, a sense and a gate line."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from netlists.arrays import FloatArray
from netlists.cells.cell import Cell
from netlists.cells.elements import Element, Instance
from netlists.cells.spice_code import require_name, require_plain_path, require_word
from netlists.cells.spice_files import read_spice, subckt_ports
from netlists.devices import OhmicRram, require_positive
from netlists.errors import InputError
from netlists.gate_lines import Gate, GateLine, require_gate_line
from netlists.identity import digest

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator

ROLES = ("drive", "sense", "gate")
State = float | Mapping[str, float]


def _osdi_library(path: Path) -> Path:
    library = Path(path).resolve()
    if not library.is_file():
        raise InputError(f"SubcktCell: osdi={str(path)!r} is no file; compile the model first.")
    require_plain_path("SubcktCell: osdi", str(library), command=True)
    return library


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, kw_only=True)
class SubcktCell(Cell):
    """A cell whose netlist is a subcircuit in a SPICE file, for instance from a process kit.

    path: the file; it is included, so what it includes itself is found relative to it.
    section: where the file is a library of sections (`.lib tt` ... `.endl`), the one to use.
    name: the subcircuit.  ports: which of its ports is "drive", "sense" and, where there is one,
    "gate".  v_gate: voltage of the gate line, V.
    gate_line: what one gate line serves, a row of cells or a column.
    osdi: a compiled Verilog-A library (OpenVAF writes them) that the file's models need; ngspice
    loads it before the netlist. Its path may hold no white space, which ngspice would split.

    states: what makes "lrs" and "hrs", in one of two ways.
    Two conductances, S: the subcircuit's `parameter` takes the memory's conductance itself, so that
    the cell is near it in series with what else it holds.
    Two sets of the subcircuit's parameters, {"lrs": {"x": 0.9}, "hrs": {"x": 0.1}}: states between
    move all of them together, each geometrically where its two ends have one sign and linearly
    where not. Conductances between the lines at v_state volts are then measured
    (`circuitsim.measure_states`) and kept in `curve`, S, at even steps of that path from HRS to
    LRS; they name the states.

    sha256 of the files and all they include is part of the cell, their paths and what was measured
    on them are not: a changed file is another cell and is calibrated anew, a moved one is the same.

    A SPICE file can run commands, with the rights of who calls ngspice. Files that would are
    refused, as is what they include from outside their folder and that of `libraries`.
    libraries: folders, as of a process kit, from which files may include.
    trust: take the files as they are; for those that one would run as a program.

    Raises InputError when files, subcircuit, ports or states do not fit each other.
    """

    n_rram: ClassVar[int] = 1
    path: Path = field(repr=False, compare=False)
    section: str | None = None
    name: str
    ports: Mapping[str, str] = field(hash=False)
    states: Mapping[str, State] = field(hash=False)
    parameter: str = "g"
    v_gate: float = 1.2
    v_state: float = 0.1
    curve: tuple[float, ...] = field(default=(), repr=False, compare=False)
    gate_line: GateLine = field(default="row", repr=False, compare=False)
    osdi: Path | None = field(default=None, repr=False, compare=False)
    libraries: tuple[Path, ...] = field(default=(), repr=False, compare=False)
    trust: bool = field(default=False, repr=False, compare=False)
    sha256: str = field(init=False)
    nodes: tuple[str, ...] = field(init=False)
    _content: tuple[tuple[Path, str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        path = Path(self.path).resolve()
        require_plain_path("SubcktCell: path", str(path))
        require_word("SubcktCell: name", self.name)
        require_name("SubcktCell: parameter", self.parameter)
        if self.section is not None:
            require_word("SubcktCell: section", self.section)
        if self.section and " " in str(path):
            raise InputError(
                f"SubcktCell: ngspice reads no library section from {str(path)!r}, whose name has "
                "a space; rename or move it."
            )
        libraries = tuple(Path(folder).resolve() for folder in self.libraries)
        files = read_spice(path, trust=self.trust, libraries=libraries)
        order = subckt_ports(path, files, self.name)
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
        self._check_states()
        require_gate_line("SubcktCell", self.gate_line)
        if np.any(np.diff(self.curve) <= 0) or len(self.curve) == 1:
            raise InputError(
                f"SubcktCell: the conductance of {self.name} does not rise all the way from 'hrs' "
                "to 'lrs'; swap them if they were exchanged, or choose states it rises between."
            )
        content = [
            (file, _hash(text.encode(errors="surrogateescape"))) for file, text in files.items()
        ]
        if self.osdi is not None:
            library = _osdi_library(self.osdi)
            object.__setattr__(self, "osdi", library)
            content.append((library, _hash(library.read_bytes())))
        states = {name: self.states[name] for name in ("lrs", "hrs")}
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "ports", {r: self.ports[r] for r in ROLES if r in self.ports})
        object.__setattr__(self, "states", states)
        object.__setattr__(self, "curve", tuple(self.curve))
        object.__setattr__(self, "nodes", tuple(role_of[port] for port in order))
        object.__setattr__(self, "libraries", libraries)
        object.__setattr__(self, "_content", tuple(content))
        object.__setattr__(self, "sha256", digest([of_file for _, of_file in content]))

    def _check_states(self) -> None:
        if set(self.states) != {"lrs", "hrs"}:
            raise InputError(
                f"SubcktCell: states={dict(self.states)!r} must give 'lrs' and 'hrs', in siemens "
                "or as the subcircuit's parameters."
            )
        if not self.by_parameters:
            require_positive("SubcktCell", **self._conductances())
            return
        lrs, hrs = self.states["lrs"], self.states["hrs"]
        if not (isinstance(lrs, Mapping) and isinstance(hrs, Mapping)) or set(lrs) != set(hrs):
            raise InputError(
                f"SubcktCell: states={dict(self.states)!r} must give 'lrs' and 'hrs' the same "
                "parameters of the subcircuit."
            )
        for name, value in [*lrs.items(), *hrs.items()]:
            require_name("SubcktCell: a parameter of states", name)
            if not np.isfinite(value):
                raise InputError(f"SubcktCell: states give {name}={value!r}, which is no number.")

    def changed_file(self) -> Path | None:
        """See `Cell.changed_file`."""
        for file, before in self._content:
            try:
                same = _hash(file.read_bytes()) == before
            except OSError:
                same = False
            if not same:
                return file
        return None

    def identity_fields(self) -> Mapping[str, object]:
        """What the cell is, wherever its files lie: see `netlists.identity`."""
        return {
            "sha256": self.sha256,
            "section": self.section,
            "name": self.name.lower(),
            "ports": self.ports,
            "states": self.states,
            "parameter": self.parameter.lower(),
            "v_gate": self.v_gate,
            "v_state": self.v_state,
            "gate_line": self.gate_line,
        }

    @property
    def by_parameters(self) -> bool:
        """Whether states are sets of parameters, so that their conductances must be measured."""
        return any(isinstance(state, Mapping) for state in self.states.values())

    def _conductances(self) -> dict[str, float]:
        return {k: v for k, v in self.states.items() if not isinstance(v, Mapping)}

    @property
    def rram(self) -> OhmicRram:
        """The two states as an ohmic memory; raises InputError when LRS is not the larger."""
        if not self.by_parameters:
            g = self._conductances()
            return OhmicRram(r_lrs=1.0 / g["lrs"], r_hrs=1.0 / g["hrs"])
        if not self.curve:
            raise InputError(
                f"SubcktCell: the conductances of {self.name}'s states are not known yet; "
                "circuitsim.measure_states(cell) measures them."
            )
        return OhmicRram(r_lrs=1.0 / self.curve[-1], r_hrs=1.0 / self.curve[0])

    @property
    def series(self) -> tuple[Element, ...]:
        """One instance of the subcircuit."""
        return (Instance(),)

    @property
    def gate(self) -> Gate | None:
        """The gate line, where the subcircuit has a port for it."""
        return Gate(v=self.v_gate, line=self.gate_line) if "gate" in self.ports else None

    @property
    def memory_sides(self) -> tuple[bool, ...]:
        """Either, where it may be an ohmic memory and a transistor; the held-out error tells."""
        return (True, False) if self.gate is not None and not self.by_parameters else ()

    @property
    def files(self) -> Mapping[str, str]:
        """See `Cell.files`."""
        return {str(self.path): self.sha256, str(self.osdi): "osdi"}

    def reach(self, margin: float) -> tuple[float, float]:
        """See `Cell.reach`; states that are parameters end at the two that are given."""
        return (self.rram.g_hrs, self.rram.g_lrs) if self.by_parameters else super().reach(margin)

    def with_memory_shorted(self) -> tuple[Cell, float]:
        """See `Cell.with_memory_shorted`: the state alone, its memory is out of reach."""
        return self, 100 * self.rram.g_lrs

    def at_gate(self, v_gate: float) -> Cell:
        """See `Cell.at_gate`; conductances that were measured at another gate are forgotten."""
        moved = super().at_gate(v_gate)
        return moved if moved is self else replace(self, v_gate=v_gate, curve=())

    @cached_property
    def _place(self) -> "PchipInterpolator":
        from scipy.interpolate import PchipInterpolator  # half of the package's start-up time

        return PchipInterpolator(np.log(self.curve), np.linspace(0.0, 1.0, len(self.curve)))

    def parameters_of(self, g: FloatArray) -> dict[str, FloatArray]:
        """The subcircuit's parameters [n] that make states g [n], S.

        Raises InputError for a state that lies outside a measured path.
        """
        if not self.by_parameters:
            return {self.parameter.lower(): g}
        low, high = self.rram.g_hrs * (1 - 1e-9), self.rram.g_lrs * (1 + 1e-9)
        outside = (g < low) | (g > high)
        if outside.any():
            raise InputError(
                f"SubcktCell: state {g[outside].flat[0]:.6g} S of {self.name} lies outside "
                f"[{low:.6g}, {high:.6g}] S, from 'hrs' to 'lrs'."
            )
        at = np.clip(self._place(np.log(g.clip(self.curve[0], self.curve[-1]))), 0.0, 1.0)
        lrs, hrs = self.states["lrs"], self.states["hrs"]
        assert isinstance(lrs, Mapping) and isinstance(hrs, Mapping)
        return {
            name.lower(): hrs[name] * (lrs[name] / hrs[name]) ** at
            if lrs[name] * hrs[name] > 0
            else hrs[name] + (lrs[name] - hrs[name]) * at
            for name in hrs
        }
