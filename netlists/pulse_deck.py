"""One pulse on one or many cells of a kind, with their dynamics, as a SPICE deck.

Every cell has its own memory, and its own transistor where the cell has one, between the same two
ideal lines: writing as it is without wires and half-selected neighbours.
"""

from dataclasses import dataclass, fields

import numpy as np

from netlists.arrays import FloatArray
from netlists.cells import Cell, Instance, Memory, Resistor, Transistor, gate_of
from netlists.devices import NOMINAL, Deviation, DynamicRram, require_positive
from netlists.errors import InputError
from netlists.spice import subcircuit, transistor_card

# Tight enough for 1e-6 of the state; chgtol is far below the state capacitor's charge.
WRITE_OPTIONS = "reltol=1e-6 abstol=1e-15 vntol=1e-9 gmin=1e-18 chgtol=1e-18 trtol=1"


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """A trapezoid across the cell.

    height: V, positive.  width: s at full height.  edge: s of each edge.
    """

    height: float
    width: float
    edge: float

    def __post_init__(self) -> None:
        require_positive("Pulse", height=self.height, width=self.width, edge=self.edge)

    @property
    def duration(self) -> float:
        """From the first edge's begin to the last one's end, s."""
        return self.width + 2 * self.edge


def writable(cell: Cell) -> DynamicRram:
    """The memory of a cell; raises InputError where it cannot be written."""
    whole = any(isinstance(one, Instance) for one in cell.series)
    if whole or cell.n_rram > 1 or not isinstance(cell.rram, DynamicRram):
        raise InputError(
            f"{type(cell).__name__} with {type(cell.rram).__name__} cannot be written; take OneR "
            "or OneTransistorOneR with a memory that has dynamics (YakopcicRram, VteamRram)."
        )
    return cell.rram


def write_deck(
    cell: Cell,
    pulse: Pulse,
    x: FloatArray,
    deviation: Deviation = NOMINAL,
    *,
    rising: bool,
) -> str:
    """The deck of one pulse on cells in states x [n]; the node s_k carries the state of cell k.

    Whichever line is the higher one carries the pulse and the other is grounded, so that no
    junction of a transistor is ever forward biased. rising: whether the pulse is to raise x.
    Raises InputError for a cell that cannot be written.
    """
    rram = writable(cell)
    card = rram.write_card()
    shape = (
        f"pwl(0 0 {pulse.edge!r} {pulse.height!r} {pulse.edge + pulse.width!r} {pulse.height!r} "
        f"{pulse.duration!r} 0)"
    )
    positive = (rram.set_sign > 0) == rising
    lines = [
        f"* one pulse on {len(x)} {type(cell).__name__} cells",
        *subcircuit(card),
        f"vdrive drive 0 {shape if positive else 'dc 0'}",
        f"vsense sense 0 {'dc 0' if positive else shape}",
    ]
    if cell.transistor is not None:
        volts = gate_of(cell).v
        lines += [f"vgate gate 0 dc {volts!r}", *transistor_card(cell.transistor.nmos)]
    factors = {
        f.name: np.broadcast_to(getattr(deviation, f.name), x.shape).tolist()
        for f in fields(deviation)
    }
    # 0 ohm is no element: ngspice would make it 1 mohm.
    elements = [one for one in cell.series if one != Resistor(r=0.0)]
    for k, start in enumerate(x.tolist()):
        own = " ".join(f"{name}={values[k]!r}" for name, values in factors.items())
        chain = ["drive", *(f"m{n or ''}_{k}" for n in range(len(elements) - 1)), "sense"]
        parts = zip(elements, chain[:-1], chain[1:], strict=True)
        for element, upper, lower in sorted(parts, key=lambda part: isinstance(part[0], Memory)):
            match element:
                case Transistor(nmos=nmos):
                    size = f"w={float(nmos.w)!r} l={float(nmos.l)!r}"
                    lines.append(f"mcell_{k} {upper} gate {lower} 0 access {size}")
                case Resistor(r=r):
                    lines.append(f"rseries_{k} {upper} {lower} {float(r)!r}")
                case Memory():
                    lines.append(f"xrcell_{k} {upper} {lower} s_{k} {card.name} {own}")
        lines.append(f".ic v(s_{k})={start!r}")
    return "\n".join([*lines, f".options {WRITE_OPTIONS}", ".end"]) + "\n"
