"""Evidence that an operator is exact, from an assembly that shares no code with its solver."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from circuitsim.cells.secant import SecantModel
from circuitsim.linear.linear_tile import SOLVER, LinearTile, NotStructuredError, prepare
from circuitsim.linear.nodal import effective_conductance_sparse
from circuitsim.linear.resistor_tile import linearise
from netlists.arrays import FloatArray
from netlists.bridges import bridge_ends
from netlists.tile import Drive, Tile

LIMIT = 1e-10  # largest residual of an operator that is not solved again


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """How well an operator satisfies its circuit.

    residual: see `unit_drive_residual`.  drives: the sampled rows.
    solver: what produced the operator in the end.
    """

    residual: float
    drives: tuple[int, ...]
    solver: str

    @property
    def solved_again(self) -> bool:
        """Whether the structured solver was not used, or was not good enough."""
        return self.solver != SOLVER


def _branches(tile: Tile) -> tuple[csr_matrix, FloatArray]:
    """(incidence [nodes, branches], conductance [branches]) of a tile of resistors.

    Nodes: x row-major, y row-major, sources, sense terminals. A branch leaves the node with +1.
    """
    rows, cols = tile.spec.rows, tile.spec.cols
    x = np.arange(rows * cols).reshape(rows, cols)
    y = rows * cols + x
    source = 2 * rows * cols + np.arange(rows)
    sense = 2 * rows * cols + rows + np.arange(cols)
    along, down = tile.wires.in_series(rows, cols)
    start = [np.column_stack([source, x[:, :-1]]), y, x]
    end = [x, np.vstack([y[1:], sense]), y]
    parts = [1 / along, 1 / down, tile.g_device]
    for bridge in tile.bridges:
        first, second = bridge_ends(bridge, "row")
        start.append((y if bridge.kind == "column" else x)[first])
        end.append((x if bridge.kind == "row" else y)[second])
        parts.append(np.array(1 / bridge.r))
    g = np.concatenate([np.ravel(part) for part in parts])
    a, b = (np.concatenate([np.ravel(part) for part in parts]) for parts in (start, end))
    index = np.arange(len(g))
    signs = np.concatenate([np.ones(len(g)), -np.ones(len(g))])
    places = (np.concatenate([a, b]), np.concatenate([index, index]))
    shape = (2 * rows * cols + rows + cols, len(g))
    return csr_matrix((signs, places), shape=shape), g


def unit_drive_residual(prepared: LinearTile, drives: tuple[int, ...]) -> float:
    """Violation of the circuit's equations under 1 V at each of some rows, relative.

    Kirchhoff's current law is checked at every node with the solver's node voltages, and the
    operator's entries against the currents that these voltages push into the sense terminals; both
    relative to the largest sensed current. What a double cannot resolve, a few roundings of
    conductance times voltage at the node, is not held against the solver.
    """
    tile = prepared.linear
    spec = tile.spec
    unit = np.zeros((len(drives), spec.rows))
    unit[np.arange(len(drives)), drives] = 1.0
    found = prepared.solve(Drive(v=unit))
    n = spec.rows * spec.cols
    v = np.zeros((2 * n + spec.rows + spec.cols, len(drives)))
    v[:n] = np.nan_to_num(found.v_row).reshape(len(drives), n).T
    v[n : 2 * n] = np.nan_to_num(found.v_col).reshape(len(drives), n).T
    v[2 * n : 2 * n + spec.rows] = unit.T
    incidence, g = _branches(tile)
    leaving = incidence @ (g[:, None] * (incidence.T @ v))
    rounding = 8 * np.finfo(float).eps * (abs(incidence) @ (g[:, None] * (abs(incidence.T) @ v)))
    sensed = slice(2 * n + spec.rows, None)
    expected = prepared.operator[:, list(drives)]
    scale = float(np.abs(expected).max())
    if scale == 0.0:
        return float(np.abs(leaving[sensed]).max())
    wrong = [np.abs(leaving[: 2 * n]), np.abs(leaving[sensed] + expected)]
    allowed = [rounding[: 2 * n], rounding[sensed]]
    worst = max(float((w - a).max()) for w, a in zip(wrong, allowed, strict=True))
    return max(worst, 0.0) / scale


def certified_conductance(
    tile: Tile,
    *,
    rng: np.random.Generator,
    samples: int = 2,
    model: SecantModel | None = None,
    limit: float = LIMIT,
) -> tuple[FloatArray, Certificate]:
    """The operator of a tile, S [cols, rows], certified on `samples` random unit drives.

    An operator whose residual exceeds `limit`, or is not a number, is solved again by the general
    sparse solver; so is a tile with a perfect conductor or with bridges to lines that are cut off.
    The certificate names the solver.
    """
    linear = linearise(tile, model=model)
    chosen = rng.choice(tile.spec.rows, size=min(samples, tile.spec.rows), replace=False)
    drives = tuple(sorted(int(row) for row in chosen))
    residual = np.inf
    if all(bridge.r > 0 for bridge in linear.bridges):  # a perfect one has no conductance to check
        with suppress(NotStructuredError):
            prepared = prepare(linear)
            residual = unit_drive_residual(prepared, drives)
            if residual <= limit:
                certificate = Certificate(residual=residual, drives=drives, solver=SOLVER)
                return prepared.operator, certificate
    certificate = Certificate(residual=residual, drives=drives, solver="nodal")
    return effective_conductance_sparse(linear), certificate
