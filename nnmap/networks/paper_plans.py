"""The papers' ways onto tiles, by name.

What a paper leaves open is the toolkit's: 64x64 tiles, 10 kohm and 1 Mohm memories, 1 ohm segments,
0.2 V, 8-bit converters. IDEAL results depend on none of it but the converters, as levels are those
of the memories, which is what papers assume: transistors bend them.
"""

from dataclasses import replace

from netlists.cells import Cell, OneR, OneTransistorOneR, OneTransistorTwoR
from netlists.devices import OhmicRram
from netlists.tile import TileSpec
from netlists.wires import Wires
from nnmap.mapping.plan import MappingPlan


def _tile(size: int, cell: Cell, *, segment: float) -> TileSpec:
    """A square tile whose row and column segments have `segment` ohm."""
    wires = Wires(r_row_segment=segment, r_col_segment=segment)
    return TileSpec(rows=size, cols=size, wires=wires, cell=cell)


# Section IV-A: 1 kohm, 1 Mohm, 64x64, passive crossbars (its reference 20). 0.1 ohm is the lower of
# the two wire resistances of Section IV-F. Table I: balanced pairs, or an offset column.
_FPT = MappingPlan(
    spec=_tile(64, OneR(rram=OhmicRram(r_lrs=1e3, r_hrs=1e6)), segment=0.1), levels="memory"
)

# Fig. 2: one cell a weight, hence an offset column. Faults hit weights; the column is screened.
_BNN_1T1R = MappingPlan(
    spec=_tile(64, OneTransistorOneR(), segment=1.0),
    encoding="offset",
    offset_faults=False,
    levels="memory",
)

# Fig. 1 (1T1R) and Table 2: 8 bits on two 4-bit devices, segments of 2 ohm on average.
_REMECO = MappingPlan(
    spec=_tile(64, OneTransistorOneR(), segment=2.0),
    weight_bits=8,
    device_bits=4,
    levels="memory",
)

# Section V: 16-bit fixed point on sixteen SLC or eight 2-bit MLC devices of 128x128 crossbars
# without transistors (Section II). Each column's converter has a range of its own: high digits of
# weights are mostly 0, low ones are not, and the offset column carries more than either.
_RRAMEDY = MappingPlan(
    spec=_tile(128, OneR(), segment=1.0),
    encoding="offset",
    weight_bits=16,
    device_bits=1,
    levels="memory",
    adc_range="column",
)

# Section III: one 8-bit device a weight, costs of ISAAC, whose crossbars are 128x128; 1x1
# convolutions are digital (Section II-C). A cell stuck at HRS reads as a weight of 0 (Section I),
# as it does in pairs but not beside an offset column: the column is the sign, the device the 7
# other bits.
_DROP_CONNECT = MappingPlan(
    spec=_tile(128, OneR(), segment=1.0),
    weight_bits=8,
    device_bits=7,
    levels="memory",
    adc_range="column",
    digital_1x1=True,
)

PLANS: dict[str, MappingPlan] = {
    "fpt-balanced": _FPT,
    "fpt-unbalanced": replace(_FPT, encoding="offset"),
    "bnn-1t1r": _BNN_1T1R,
    "bnn-1t2r": replace(_BNN_1T1R, spec=_tile(64, OneTransistorTwoR(), segment=1.0)),
    "remeco": _REMECO,
    "rramedy-slc": _RRAMEDY,
    "rramedy-mlc": replace(_RRAMEDY, device_bits=2),
    "drop-connect": _DROP_CONNECT,
}
