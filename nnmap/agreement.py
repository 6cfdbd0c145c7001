"""How far a layer's currents at one fidelity are from those at a better one."""

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
    fidelity: Fidelity = Fidelity.LINEAR,
    reference: Fidelity = Fidelity.NONLINEAR,
    vectors: int = VECTORS,
) -> FidelityError:
    """Error of a layer's column currents at a fidelity, on up to `vectors` of what x puts on rows.

    x: layer inputs.  The vectors are evenly spread over positions, signs and bits; blank ones, at
    which every fidelity reads 0, are left out where there are others.
    """
    v = layer.all_voltages(x)
    lit = torch.nonzero((v > 0).any(2).any(0)).ravel()
    lit = lit if len(lit) else torch.arange(v.shape[1])
    v = v[:, lit[torch.linspace(0, len(lit) - 1, min(vectors, len(lit))).long()]]
    columns = torch.tensor(layer.matrix.columns())

    def currents(at: Fidelity) -> Tensor:
        reader: Reader = layer.reader
        if at is not layer.fidelity:
            reader = make_reader(layer.matrix, at, inputs=layer.typical).to(v)
        reader.require_affordable(v.shape[1])
        entering = reader.applied(v)
        rows = layer.matrix.placement.input_slices()
        return torch.stack(
            [
                reader.currents(k, entering[k, :, : r.stop - r.start].T, columns)
                for k, r in enumerate(rows)
            ]
        )

    found, truth = currents(fidelity), currents(reference)
    error = (found - truth).abs().double().numpy()
    full_scale = layer.adc.full_scale if layer.adc.bits else float(truth.abs().max())
    scale = full_scale or 1.0  # without any current, to the last ampere
    return FidelityError(
        max_relative=float(error.max()) / scale,
        p99_relative=float(np.quantile(error, 0.99)) / scale,
        mean_relative=float(error.mean()) / scale,
        full_scale=full_scale,
        currents=error.size,
    )


def network_errors(
    mapped: nn.Module,
    inputs: Tensor,
    *,
    fidelity: Fidelity = Fidelity.LINEAR,
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
        name: fidelity_error(
            layers[name], x, fidelity=fidelity, reference=reference, vectors=vectors
        )
        for name, x in seen.items()
    }
