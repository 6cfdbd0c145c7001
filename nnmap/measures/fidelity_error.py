"""How far a layer's currents are from those at a better fidelity."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nnmap.fidelity.fidelity import Fidelity
from nnmap.fidelity.readers import Reader, make_reader
from nnmap.layers.layer import MappedLayer
from nnmap.watch import first_inputs, mapped_layers

VECTORS = 32  # input vectors compared where the caller does not say


@dataclass(frozen=True, kw_only=True)
class FidelityError:
    """Differences of the currents of all read columns over some input vectors.

    max_relative, p99_relative, mean_relative: of full scale, which is the converter's range, or
    without a converter the largest current of the reference.  full_scale: A.
    currents: how many were compared.
    """

    max_relative: float
    p99_relative: float
    mean_relative: float
    full_scale: float
    currents: int

    def max_steps(self, bits: int = 8) -> float:
        """Largest difference in steps of a converter of so many bits."""
        return self.max_relative * float(2**bits - 1)

    def p99_steps(self, bits: int = 8) -> float:
        """99th percentile in steps of a converter of so many bits."""
        return self.p99_relative * float(2**bits - 1)


def layer_error(
    layer: MappedLayer,
    x: Tensor,
    *,
    reference: Fidelity = Fidelity.NONLINEAR,
    vectors: int = VECTORS,
) -> FidelityError:
    """Error of a layer's column currents, on up to `vectors` of what x puts on its rows.

    x: layer inputs.  The vectors are evenly spread over positions, signs and bits; blank ones, at
    which every fidelity reads 0, are left out where there are others.
    """
    truth_reader = make_reader(layer.on_chip, reference)
    errors, truths = [], []
    for k, (group, volts) in enumerate(zip(layer.row_groups, layer.row_voltages(x), strict=True)):
        v = _few(volts, vectors)[:, torch.from_numpy(group.rows).to(volts.device)].T
        truth = _currents(truth_reader.to(v), k, v)
        errors.append((_currents(layer.reader, k, v) - truth).abs().double().cpu().numpy().ravel())
        truths.append(float(truth.abs().max()) if truth.numel() else 0.0)
    error = np.concatenate(errors)
    full_scale = layer.adc.full_scale if layer.adc.bits else max(truths)
    scale = full_scale or 1.0  # without any current, to the last ampere
    return FidelityError(
        max_relative=float(error.max()) / scale,
        p99_relative=float(np.quantile(error, 0.99)) / scale,
        mean_relative=float(error.mean()) / scale,
        full_scale=full_scale,
        currents=error.size,
    )


def _few(v: Tensor, count: int) -> Tensor:
    """Of row voltages [vectors, rows], some that are not blank, evenly spread."""
    lit = torch.nonzero((v != 0).any(1)).ravel()
    lit = lit if len(lit) else torch.arange(len(v))
    return v[lit[torch.linspace(0, len(lit) - 1, min(count, len(lit))).long()]]


def _currents(reader: Reader, group: int, v: Tensor) -> Tensor:
    reader.require_affordable(v.shape[1])
    return reader.currents(group, reader.applied(v))


def network_errors(
    chip: nn.Module,
    inputs: Tensor,
    *,
    reference: Fidelity = Fidelity.NONLINEAR,
    vectors: int = VECTORS,
) -> dict[str, FidelityError]:
    """`layer_error` of every layer on tiles at what reaches it when the network runs, by name.

    One batch of inputs is run, at the network's own fidelities; a few will do. Raises InputError
    for a network without layers on tiles.
    """
    layers = mapped_layers(chip)
    return {
        name: layer_error(layers[name], x, reference=reference, vectors=vectors)
        for name, x in first_inputs(chip, layers, inputs).items()
    }
