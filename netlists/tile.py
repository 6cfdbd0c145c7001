"""A tile: its geometry, its wires, what is programmed into it and what is applied to it."""

from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netlists.arrays import FloatArray, readonly
from netlists.bridges import Bridge, bridge_ends
from netlists.cells import Cell, OneR, gate_of
from netlists.defects import Defects, TransistorState, require_sites
from netlists.errors import InputError
from netlists.faults import FaultMap
from netlists.wires import Wires

SMALLEST_READ = 1e-9  # V


class Access(IntEnum):
    """How a cell is reached through its transistor, defects applied; cells without one are GATED.

    GATED: the gate line is at its voltage.  OFF: the gate floats at ground.  OPEN, SHORTED: see
    `TransistorState`.
    """

    GATED = 0
    OFF = 1
    OPEN = 2
    SHORTED = 3


@dataclass(frozen=True, kw_only=True)
class TileSpec:
    """The array before anything is programmed: rows x cols cells of one kind on given wires.

    v_read: nominal input amplitude, V; cells are calibrated at it, and the memory must allow it.
    A value: equal where all fields are, whoever made it.
    """

    rows: int
    cols: int
    wires: Wires
    cell: Cell = field(default_factory=OneR)
    v_read: float = 0.2

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1:
            raise InputError(f"TileSpec: rows={self.rows}, cols={self.cols} must be at least 1.")
        if not SMALLEST_READ <= self.v_read < float("inf"):
            raise InputError(
                f"TileSpec: v_read={self.v_read!r} V must be positive and finite, at least "
                f"{SMALLEST_READ:g} V."
            )
        self.cell.rram.checked(self.v_read)
        self.wires.require_shape(self.rows, self.cols)

    @property
    def g_shape(self) -> tuple[int, ...]:
        """Shape of the device conductances: [rows, cols], or [rows, cols, 2] for 1T2R."""
        n = self.cell.n_rram
        return (self.rows, self.cols) if n == 1 else (self.rows, self.cols, n)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """A programmed array.

    g: conductance each memory was programmed to, S, `spec.g_shape`.
    faults: what became of the memories; None where all work.
    defects: what is broken beside the memories; None where all is well.

    Raises InputError when g has another shape or an entry that is negative or not finite, and on
    faults or defects that this array cannot have.
    """

    spec: TileSpec
    g: ArrayLike
    faults: FaultMap | None = None
    defects: Defects | None = None

    def __post_init__(self) -> None:
        g = readonly(self.g)
        if g.shape != self.spec.g_shape:
            raise InputError(f"Tile: g.shape={g.shape} != spec.g_shape={self.spec.g_shape}.")
        bad = ~(np.isfinite(g) & (g >= 0))
        if bad.any():
            where = tuple(int(k) for k in np.argwhere(bad)[0])
            raise InputError(
                f"Tile: g{list(where)}={g[where]!r} S must be finite and at least 0; "
                "conductances are the inverse of resistances in ohm."
            )
        if self.faults is not None and self.faults.kind.shape != self.spec.g_shape:
            raise InputError(
                f"Tile: faults.kind.shape={self.faults.kind.shape} != "
                f"spec.g_shape={self.spec.g_shape}."
            )
        if self.defects is not None:
            self._check_defects(self.defects)
        object.__setattr__(self, "g", g)

    def _check_defects(self, defects: Defects) -> None:
        spec = self.spec
        if (defects.rows, defects.cols) != (spec.rows, spec.cols):
            raise InputError(
                f"Tile: defects of a {defects.rows}x{defects.cols} tile do not fit one of "
                f"{spec.rows}x{spec.cols}."
            )
        require_sites(defects, spec.cell)
        gates = [bridge for bridge in defects.bridges if bridge.kind == "gate"]
        for bridge in gates:
            i, j = bridge_ends(bridge, gate_of(spec.cell).line)[1]
            if i >= spec.rows or j >= spec.cols:
                raise InputError(
                    f"Tile: {bridge} ends at ({i}, {j}), off a {spec.rows}x{spec.cols} tile."
                )

    @property
    def wires(self) -> Wires:
        """The wires that the tile really has: its spec's own where no segment is cut."""
        d, spec = self.defects, self.spec
        if d is None or not (np.any(d.open_row) or np.any(d.open_col)):
            return spec.wires
        wires = spec.wires
        return replace(
            wires,
            r_row_segment=np.where(d.open_row, np.inf, wires.r_row_segment),
            r_col_segment=np.where(d.open_col, np.inf, wires.r_col_segment),
        )

    @property
    def bridges(self) -> tuple[Bridge, ...]:
        """Shorts between the lines that carry current."""
        every = () if self.defects is None else self.defects.bridges
        return tuple(bridge for bridge in every if bridge.kind != "gate")

    @property
    def access(self) -> NDArray[np.int8]:
        """How each cell is reached, `Access` values [rows, cols]."""
        spec, d = self.spec, self.defects
        access = np.full((spec.rows, spec.cols), Access.GATED, dtype=np.int8)
        if d is None:
            return access
        if d.of_gate_lines:
            pieces, driven = d.gate_islands(gate_of(spec.cell).line)
            access[~driven[pieces]] = Access.OFF
        access[d.transistor == TransistorState.OPEN] = Access.OPEN
        access[d.transistor == TransistorState.SHORTED] = Access.SHORTED
        return access

    @property
    def g_reachable(self) -> FloatArray:
        """`g_device` with 0 S for memories behind a transistor that is open or off."""
        if self.defects is None:
            return self.g_device
        cut = np.isin(self.access, (Access.OPEN, Access.OFF))
        return np.where(cut if self.spec.cell.n_rram == 1 else cut[..., None], 0.0, self.g_device)

    @property
    def g_device(self) -> FloatArray:
        """Conductance each memory really has, faults applied, S, `spec.g_shape`."""
        g = np.asarray(self.g)
        if self.faults is None:
            return g
        rram = self.spec.cell.rram
        return self.faults.applied_to(g, g_lrs=rram.g_lrs, g_hrs=rram.g_hrs)


def inject(tile: Tile, faults: FaultMap | Defects) -> Tile:
    """The same programmed tile with these stuck memories, or these defects, in place of its own."""
    if isinstance(faults, Defects):
        return replace(tile, defects=faults)
    return replace(tile, faults=faults)


@dataclass(frozen=True, kw_only=True, eq=False)
class Drive:
    """Input voltages: v is [batch, rows] or [rows], V."""

    v: ArrayLike

    def __post_init__(self) -> None:
        v = np.atleast_2d(readonly(self.v))
        if v.ndim != 2 or v.shape[0] == 0:
            raise InputError(f"Drive: v.shape={v.shape} must be (batch, rows) with batch >= 1.")
        if not np.isfinite(v).all():
            where = tuple(int(k) for k in np.argwhere(~np.isfinite(v))[0])
            raise InputError(f"Drive: v{list(where)}={v[where]!r} V is not a finite voltage.")
        object.__setattr__(self, "v", v)

    def for_tile(self, spec: TileSpec) -> FloatArray:
        """The voltages, [batch, rows]; raises InputError when they do not fit the tile."""
        v = np.asarray(self.v)
        if v.shape[1] != spec.rows:
            raise InputError(f"Drive: v.shape={v.shape} != (batch, rows)=(*, {spec.rows}).")
        return v
