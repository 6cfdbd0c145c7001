"""One read of one tile as a network performed it, solved again by ngspice."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from circuitsim import solve
from netlists import Drive
from netlists.arrays import FloatArray
from netlists.tile import Tile
from nnmap import MappedLayer
from nnmap.chip import shown
from nnmap.fidelity.readers import columns_of
from nnmap.network import full_scale


@dataclass(frozen=True, kw_only=True, eq=False)
class TileRead:
    """One read of one tile, and the same in ngspice on its netlist.

    v: row voltages [rows].  columns: those that the network reads.  i_fast, i_spice: their
    currents at the layer's fidelity and on the emitted netlist, A.  ideal: currents of all columns
    at IDEAL, A [cols].  solver: the simulator.
    full_scale: the converter's range, or without converters the current of a column whose cells
        are all LRS under full input, A.
    """

    tile: Tile
    v: FloatArray
    columns: FloatArray
    i_fast: FloatArray
    i_spice: FloatArray
    ideal: FloatArray
    full_scale: float
    solver: str

    @property
    def error(self) -> FloatArray:
        """How far the layer's currents are off, of full scale, [columns].

        Not of the read's own current, which is 0 for blank inputs.
        """
        return np.asarray(np.abs(self.i_fast - self.i_spice) / self.full_scale)

    def error_of(self, i: FloatArray) -> FloatArray:
        """The same for other currents of the tile, A [cols]."""
        return np.asarray(np.abs(i[self.columns] - self.i_spice) / self.full_scale)


def read_in_spice(layer: MappedLayer, x: Tensor, tile: int) -> TileRead:
    """The read of a tile that layer inputs x [1, ...] bring about, solved again by ngspice.

    Of all reads that x causes there, positions of a convolution, signs and bits, the one with most
    signal.
    """
    programme, p = layer.programme, layer.programme.placement
    volts = layer.row_voltages(x)[int(p.group_of[tile])]
    if not len(volts):
        volts = volts.new_zeros(1, p.rows)
    v = volts[int(volts.abs().sum(1).argmax())]
    with torch.no_grad():
        fast = layer.currents_of(tile, v[None])[0]
    columns = columns_of(p, tile)[1]
    held = layer.on_chip.tile(tile)
    spice = solve(held, Drive(v=v.double().numpy()), solver="ngspice")
    return TileRead(
        tile=held,
        v=v.double().numpy(),
        columns=columns,
        i_fast=fast.double().numpy(),
        i_spice=spice.i_out[0, columns],
        ideal=v.double().numpy() @ shown(held, programme.levels),
        full_scale=layer.adc.full_scale if layer.adc.bits else full_scale(programme),
        solver=spice.solver,
    )
