"""How far a layer's currents are from those at a better fidelity."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nnmap.layers import MappedLayer
from nnmap.operator import Fidelity
from nnmap.ranges import watch
from nnmap.readers import Reader, make_reader

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


def fidelity_error(
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
    v = layer.all_voltages(x)
    lit = torch.nonzero((v > 0).any(2).any(0)).ravel()
    lit = lit if len(lit) else torch.arange(v.shape[1])
    v = v[:, lit[torch.linspace(0, len(lit) - 1, min(vectors, len(lit))).long()]]
    columns = torch.tensor(layer.matrix.columns())

    truth_reader = make_reader(layer.matrix, reference).to(v)
    found, truth = (_currents(layer, r, v, columns) for r in (layer.reader, truth_reader))
    error = (found - truth).abs().double().cpu().numpy()
    full_scale = layer.adc.full_scale if layer.adc.bits else float(truth.abs().max())
    scale = full_scale or 1.0  # without any current, to the last ampere
    return FidelityError(
        max_relative=float(error.max()) / scale,
        p99_relative=float(np.quantile(error, 0.99)) / scale,
        mean_relative=float(error.mean()) / scale,
        full_scale=full_scale,
        currents=error.size,
    )


def _currents(layer: MappedLayer, reader: Reader, v: Tensor, columns: Tensor) -> Tensor:
    """Currents that a reader of the layer's tiles gives, A [reads, columns, vectors]."""
    reader.require_affordable(v.shape[1])
    entering = reader.applied(v)
    rows = layer.matrix.placement.input_slices()
    parts = [entering[k, :, : r.stop - r.start].T for k, r in enumerate(rows)]
    return torch.stack([reader.currents(k, part, columns) for k, part in enumerate(parts)])


def network_errors(
    mapped: nn.Module,
    inputs: Tensor,
    *,
    reference: Fidelity = Fidelity.NONLINEAR,
    vectors: int = VECTORS,
) -> dict[str, FidelityError]:
    """`fidelity_error` of every mapped layer at what reaches it when the network runs, by name.

    One batch of inputs is run, at the network's own fidelities; a few will do.
    """
    layers = {n: m for n, m in mapped.named_modules() if isinstance(m, MappedLayer)}
    seen: dict[str, Tensor] = {}
    watch(mapped, layers, lambda name, _, x: seen.setdefault(name, x))(inputs)
    return {
        name: fidelity_error(layers[name], x, reference=reference, vectors=vectors)
        for name, x in seen.items()
    }
