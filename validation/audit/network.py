"""A mapped network against ngspice: sampled tile inputs, every fidelity."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from netlists.cells import is_linear
from nnmap import Fidelity, MappedNetwork, mapped_layers
from nnmap.fidelity.linear_fit import solve_nonlinear_tile
from nnmap.watch import input_of
from validation.audit.tile_read import read_in_spice

STEPS = 255  # of an 8-bit converter over full scale
NONLINEAR_LIMIT, LINEAR_LIMIT = 0.1, 1.0  # steps: of the largest error, of the 99th percentile


@dataclass(frozen=True, kw_only=True)
class NetworkAudit:
    """Errors of column currents against ngspice, in steps of an 8-bit converter.

    The steps are those of each layer's converter range.  reads, currents: how many were compared.
    """

    reads: int
    currents: int
    nonlinear_max: float
    linear_max: float
    linear_p99: float
    ideal_max: float
    solver: str

    @property
    def verdict(self) -> str:
        """Whether NONLINEAR is within 0.1 step and LINEAR within one at p99, or what is not."""
        found = []
        if not self.nonlinear_max <= NONLINEAR_LIMIT:
            found.append(f"NONLINEAR is off by {self.nonlinear_max:.2g} steps")
        if not self.linear_p99 <= LINEAR_LIMIT:
            found.append(
                "wires too resistive for LINEAR with these cells: off by "
                f"{self.linear_p99:.2g} steps at p99; use NONLINEAR, smaller tiles or better wires"
            )
        return "; ".join(found) or "within limits"


def audit_network(
    network: MappedNetwork,
    inputs: Tensor,
    *,
    reads: int = 32,
    seed: int = 0,
    on_done: Callable[[int], None] = lambda more: None,
) -> NetworkAudit:
    """Solve sampled reads of a mapped network again in ngspice, on the tiles' own netlists.

    Tiles weigh the same and inputs are drawn from those given; what reaches a tile is what the
    network at LINEAR puts there, of a convolution's positions the one with most signal.
    Raises MissingToolError without ngspice.
    """
    rng = np.random.default_rng(seed)
    chip = network.on(fidelity=Fidelity.LINEAR)
    layers = mapped_layers(chip)
    places = [(name, k) for name, x in layers.items() for k in range(x.programme.placement.tiles)]
    errors: dict[Fidelity, list[np.ndarray]] = {f: [] for f in Fidelity}
    solver = ""
    for _ in range(reads):
        name, tile = places[rng.integers(len(places))]
        image = int(rng.integers(len(inputs)))
        layer = layers[name]
        x = input_of(chip, layers, name, inputs[image : image + 1])
        read = read_in_spice(layer, x, tile)
        solver = read.solver
        errors[Fidelity.LINEAR].append(read.error)
        errors[Fidelity.IDEAL].append(read.error_of(read.ideal))
        if is_linear(layer.programme.spec.cell):
            errors[Fidelity.NONLINEAR].append(read.error)
        else:
            i = solve_nonlinear_tile(read.tile, read.v[None])[0]
            errors[Fidelity.NONLINEAR].append(read.error_of(i))
        on_done(1)
    steps = {f: STEPS * np.concatenate(some) for f, some in errors.items() if some}
    return NetworkAudit(
        reads=reads,
        currents=steps[Fidelity.LINEAR].size,
        nonlinear_max=float(steps[Fidelity.NONLINEAR].max()),
        linear_max=float(steps[Fidelity.LINEAR].max()),
        linear_p99=float(np.quantile(steps[Fidelity.LINEAR], 0.99)),
        ideal_max=float(steps[Fidelity.IDEAL].max()),
        solver=solver,
    )
