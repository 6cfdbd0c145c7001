"""Fault and defect maps drawn at given rates.

One uniform number decides one site, so that maps at rising rates are nested: what is broken at 5 %
is broken alike at 10 %.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netlists.arrays import FloatArray
from netlists.bridges import BRIDGE_KINDS, Bridge, bridge_ends
from netlists.defect_rates import DefectRates
from netlists.defects import Defects, TransistorState, require_sites
from netlists.fault_patterns import Independent, Pattern, StuckStates
from netlists.faults import FaultKind, FaultMap, FaultRates
from netlists.tile import TileSpec

ALONE, NOMINAL_STATES = Independent(), StuckStates()


def stream_name(rng: np.random.Generator) -> str:
    """The seed of a random stream, as text."""
    sequence = rng.bit_generator.seed_seq
    if isinstance(sequence, np.random.SeedSequence):
        return f"entropy={sequence.entropy} spawn_key={sequence.spawn_key}"
    return "unknown"


def sample_faults(
    spec: TileSpec,
    rates: FaultRates,
    *,
    rng: np.random.Generator,
    pattern: Pattern = ALONE,
    states: StuckStates = NOMINAL_STATES,
) -> FaultMap:
    """A fault map for one tile, its memories stuck at the given rates.

    pattern: where stuck memories lie.  states: what they hold.

    The memories of a 1T2R cell are drawn plane by plane, so that the first plane equals the map of
    a 1T1R tile drawn from an equal stream: variants with more devices share the faults they can.
    """
    shape = (spec.cell.n_rram, spec.rows, spec.cols)
    seed = stream_name(rng)
    kind = pattern.kinds(shape, rates, rng=rng)
    g_stuck = None
    if rates.stuck_at or states != NOMINAL_STATES:
        g_stuck = _held(kind, spec, rates, states, rng)

    def placed(planes: NDArray[Any]) -> NDArray[Any]:
        return planes[0] if spec.cell.n_rram == 1 else np.moveaxis(planes, 0, -1)

    return FaultMap(
        kind=placed(kind),
        g_stuck=None if g_stuck is None else placed(g_stuck),
        requested=rates,
        seed=seed,
    )


def _held(
    kind: NDArray[np.int8],
    spec: TileSpec,
    rates: FaultRates,
    states: StuckStates,
    rng: np.random.Generator,
) -> FloatArray:
    """What stuck memories hold beside the nominal states, S; those stuck between join `kind`."""
    between, held = rng.spawn(2)
    g_stuck = np.full(kind.shape, np.nan)
    rram = spec.cell.rram
    if rates.stuck_at:
        # Of the memories that the two states left; the same ones, and more, at a higher rate.
        left = 1.0 - rates.stuck_lrs - rates.stuck_hrs
        planes = between.random((kind.shape[0], 2, *kind.shape[1:]))
        chosen, state = planes[:, 0], planes[:, 1]
        kind[(kind == FaultKind.NONE) & (chosen * left < rates.stuck_at)] = FaultKind.STUCK_AT
        at = kind == FaultKind.STUCK_AT
        g_stuck[at] = (rram.g_hrs * (rram.g_lrs / rram.g_hrs) ** state)[at]
    states.fill(g_stuck, kind, rng=held)
    return g_stuck


def sample_defects(spec: TileSpec, rates: DefectRates, *, rng: np.random.Generator) -> Defects:
    """Defects of one tile, each site hit independently at its rate.

    Every kind draws from a stream of its own, one number per site: a map at a higher rate holds all
    defects of the lower one, and raising one rate moves nothing else. A transistor is open from
    below and shorted from above.

    Raises InputError where the cell lacks what a rate is of.
    """
    require_sites(rates, spec.cell)
    rows, cols = spec.rows, spec.cols
    gate_line = "row" if spec.cell.gate is None else spec.cell.gate.line
    seed = stream_name(rng)
    transistor, row, col, gate, *bridged = (
        stream.random((rows, cols)) for stream in rng.spawn(4 + len(BRIDGE_KINDS))
    )
    states = np.zeros((rows, cols), dtype=np.int8)
    states[transistor < rates.transistor_open] = TransistorState.OPEN
    states[transistor >= 1.0 - rates.transistor_shorted] = TransistorState.SHORTED
    bridges = []
    for kind, drawn in zip(BRIDGE_KINDS, bridged, strict=True):
        rate = getattr(rates, f"bridge_{kind.removesuffix('umn')}")
        for i, j in np.argwhere(drawn < rate).tolist():
            bridge = Bridge(kind=kind, row=i, col=j, r=rates.r_bridge)
            last = bridge_ends(bridge, gate_line)[1]
            if last[0] < rows and last[1] < cols:  # no line beyond the border
                bridges.append(bridge)
    return Defects(
        rows=rows,
        cols=cols,
        transistor=states,
        open_row=row < rates.open_row,
        open_col=col < rates.open_col,
        open_gate=gate < rates.open_gate,
        bridges=tuple(bridges),
        r_short=rates.r_short,
        requested=rates,
        seed=seed,
    )
