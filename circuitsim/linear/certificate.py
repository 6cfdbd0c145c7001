"""Evidence that an operator is exact, from an assembly that shares no code with its solver."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from circuitsim.cells.secant import SecantModel
from circuitsim.dissection import node_voltages
from circuitsim.linear.linear_tile import SOLVER, LinearTile, NotStructuredError, prepare
from circuitsim.linear.nodal import effective_conductance_sparse
from circuitsim.linear.resistor_tile import linearise
from netlists.arrays import FloatArray
from netlists.bridges import bridge_ends
from netlists.tile import Tile

LIMIT = 1e-10  # largest residual of an operator that is not solved again


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """How well an operator satisfies its circuit.

    residual: see `operator_residual`.  drives: how many random ones it was taken over.
    solver: what produced the operator in the end.
    """

    residual: float
    drives: int
    solver: str

    @property
    def solved_again(self) -> bool:
        """Whether the structured solver was not used, or was not good enough."""
        return self.solver != SOLVER


def random_drives(rows: int, count: int, rng: np.random.Generator) -> FloatArray:
    """Row voltages of both signs, [count, rows], V: no row is spared, hence no entry either."""
    return np.asarray(rng.choice([-1.0, 1.0], (count, rows)) * rng.uniform(0.5, 1.0, (count, rows)))


def operator_residual(
    prepared: LinearTile, v: FloatArray, *, operator: FloatArray | None = None
) -> float:
    """Violation of the circuit's equations by an operator under row voltages v [batch, rows].

    Kirchhoff's current law is checked at every node with the solver's node voltages, relative to
    the largest sensed current; and what the operator, the prepared one where none is given, makes
    of the drives against the currents that these voltages push into the sense terminals, relative
    to what its column can carry under them. Every entry takes part under a drive that spares no
    row (see `random_drives`). What a double cannot resolve, a few roundings of conductance times
    voltage at the node, is not held against the solver. An entry that is no number makes the
    residual infinite.
    """
    tile = prepared.linear
    operator = prepared.operator if operator is None else operator
    if not np.isfinite(operator).all():
        return float("inf")
    x, y = node_voltages(prepared.factorisation, v)
    if prepared.correction is not None:
        prepared.correction.apply(*(np.moveaxis(u, 0, -1) for u in (x, y)))
    leaving, sensed, rounding = _kirchhoff(tile, v, np.nan_to_num(x), np.nan_to_num(y))
    expected = v @ operator.T
    reach = np.maximum(np.abs(v) @ np.abs(operator.T), np.abs(sensed))
    scale = float(np.abs(sensed).max())
    if scale == 0.0:
        return 0.0 if not operator.any() else float("inf")
    at_nodes = np.maximum(np.abs(leaving) - rounding, 0.0).max() / scale
    off = np.maximum(np.abs(sensed - expected) - 8 * np.finfo(float).eps * reach, 0.0)
    in_columns = np.divide(off, reach, out=off.copy(), where=reach > 0.0).max()
    worst = float(np.max([at_nodes, in_columns]))
    return worst if np.isfinite(worst) else float("inf")


def _kirchhoff(
    tile: Tile, v: FloatArray, x: FloatArray, y: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Current that leaves each node and should not, what the sense terminals take, and roundings.

    x, y: voltages of row and column nodes [batch, rows, cols]. Returns A [2, batch, rows, cols], A
    [batch, cols] and A [2, batch, rows, cols].
    """
    spec = tile.spec
    along, down = (1 / r for r in tile.wires.in_series(spec.rows, spec.cols))
    before = np.concatenate([v[:, :, None], x[:, :, :-1]], axis=2)
    after = np.concatenate([y[:, 1:], np.zeros((len(v), 1, spec.cols))], axis=1)
    into_x, through, out_of_y = along * (before - x), tile.g_device * (x - y), down * (y - after)
    leaving = np.stack([through - into_x, out_of_y - through])
    leaving[0, :, :, :-1] += into_x[:, :, 1:]
    leaving[1, :, 1:] -= out_of_y[:, :-1]
    size = tile.g_device * (np.abs(x) + np.abs(y))
    sizes = np.stack([size + along * (np.abs(before) + np.abs(x))] * 2)
    sizes[1] = size + down * (np.abs(y) + np.abs(after))
    sizes[0, :, :, :-1] += (along * (np.abs(before) + np.abs(x)))[:, :, 1:]
    sizes[1, :, 1:] += (down * (np.abs(y) + np.abs(after)))[:, :-1]
    planes = {"row": (0, 0), "column": (1, 1), "cell": (0, 1)}
    nodes = np.stack([x, y])
    for bridge in tile.bridges:
        ends = [
            (plane, slice(None), *place)
            for plane, place in zip(planes[bridge.kind], bridge_ends(bridge, "row"), strict=True)
        ]
        carried = (nodes[ends[0]] - nodes[ends[1]]) / bridge.r
        held = (np.abs(nodes[ends[0]]) + np.abs(nodes[ends[1]])) / bridge.r
        for end, sign in zip(ends, (1.0, -1.0), strict=True):
            leaving[end] += sign * carried
            sizes[end] += held
    return leaving, out_of_y[:, -1], 8 * np.finfo(float).eps * sizes


def residual_of(linear: Tile, operator: FloatArray, *, rng: np.random.Generator) -> float | None:
    """`operator_residual` of one random drive of a tile of resistors; None where it is not known.

    That is where the structured solver does not take the tile.
    """
    if not all(bridge.r > 0 for bridge in linear.bridges):
        return None
    try:
        prepared = prepare(linear)
    except NotStructuredError:
        return None
    return operator_residual(prepared, random_drives(linear.spec.rows, 1, rng), operator=operator)


def certified_conductance(
    tile: Tile,
    *,
    rng: np.random.Generator,
    samples: int = 2,
    model: SecantModel | None = None,
    limit: float = LIMIT,
) -> tuple[FloatArray, Certificate]:
    """The operator of a tile, S [cols, rows], certified on `samples` random drives of all rows.

    An operator whose residual exceeds `limit` is solved again by the general sparse solver; so is a
    tile with a perfect conductor or with bridges to lines that are cut off. The certificate names
    the solver.
    """
    linear = linearise(tile, model=model)
    residual = np.inf
    if all(bridge.r > 0 for bridge in linear.bridges):  # a perfect one has no conductance to check
        with suppress(NotStructuredError):
            prepared = prepare(linear)
            residual = operator_residual(prepared, random_drives(tile.spec.rows, samples, rng))
            if residual <= limit:
                certificate = Certificate(residual=residual, drives=samples, solver=SOLVER)
                return prepared.operator, certificate
    certificate = Certificate(residual=residual, drives=samples, solver="nodal")
    return effective_conductance_sparse(linear), certificate
