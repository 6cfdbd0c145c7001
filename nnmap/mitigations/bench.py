"""A chip on a bench: it can be programmed, run and read, and it is never shown."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from netlists.tile import TileSpec
from nnmap.chip import AnyChip, Chip
from nnmap.fidelity.extraction import Extraction
from nnmap.fidelity.fidelity import Fidelity
from nnmap.layers.layer import MappedLayer
from nnmap.mitigations.meter import Meter
from nnmap.network import MappedNetwork
from nnmap.skeleton import OnTiles, replace_modules
from nnmap.trainable import TrainableNetwork
from nnmap.watch import layer_input, mapped_layers


class Run:
    """A network programmed onto the bench's chip, running; what it reads is metered.

    Digital layers are the network's own copies: a method may change them, `network` keeps that.
    """

    def __init__(self, module: nn.Module, network: MappedNetwork) -> None:
        self._module, self._network = module, network

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs for inputs x [batch, ...], without gradients."""
        with torch.no_grad():
            result: Tensor = self._module(x)
        return result

    def digital(self, *kinds: type[nn.Module]) -> dict[str, nn.Module]:
        """The digital layers of these kinds, by name; none of them knows a tile."""
        inside = {
            id(m) for n in self._module.modules() if isinstance(n, MappedLayer) for m in n.modules()
        }
        found = self._module.named_modules()
        return {n: m for n, m in found if isinstance(m, kinds) and id(m) not in inside}

    def network(self) -> MappedNetwork:
        """The mapped network with its digital layers as they are now."""
        skeleton = replace_modules(self._module, MappedLayer, lambda _, at: OnTiles(at.name))
        return replace(self._network, skeleton=skeleton.eval())


class Bench:
    """One chip at one fidelity, as its owner can use it.

    run, train: see there.  meter: what was spent so far.  fidelity: how the chip is read.

    The chip itself is out of reach: what holds it are functions.
    """

    def __init__(
        self,
        chip: AnyChip,
        fidelity: Fidelity,
        *,
        extraction: Extraction | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        self.meter = Meter()
        self.fidelity = fidelity
        self._programmed: dict[str, np.ndarray] = {}
        self._specs: dict[str, TileSpec] = {}

        def on_chip(network: MappedNetwork) -> nn.Module:
            return network.on(chip, fidelity, extraction=extraction).to(device, dtype)

        def trainable(network: MappedNetwork, every: int) -> TrainableNetwork:
            return network.trainable(chip, fidelity, every=every).to(device)

        self._on_chip: Callable[[MappedNetwork], nn.Module] = on_chip
        self._trainable: Callable[[MappedNetwork, int], TrainableNetwork] = trainable

    def write(self, network: MappedNetwork) -> None:
        """Programme the chip with the network; memories whose order changed are written.

        The first call programmes a blank chip, which every deployment does, and counts nothing; the
        tiles of its network are those of the chip from then on.
        """
        self._specs = self._specs or specs_of(network)
        for name, programme in network.programmes.items():
            before = self._programmed.get(name)
            if before is not None:
                same = before.shape == programme.target.shape
                changed = before != programme.target if same else np.ones(programme.target.shape)
                self.meter.writes += int(np.count_nonzero(changed))
            self._programmed[name] = programme.target

    @contextmanager
    def run(self, network: MappedNetwork) -> Iterator[Run]:
        """The network on the chip for a while; every tile read is metered."""
        self.write(network)
        module = self._on_chip(with_specs(network, self._specs))
        hooks = [
            layer.register_forward_pre_hook(self._count, with_kwargs=True)
            for layer in mapped_layers(module).values()
        ]
        try:
            yield Run(module, network)
        finally:
            for hook in hooks:
                hook.remove()

    def _count(self, layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        assert isinstance(layer, MappedLayer)
        x = layer_input(args, kwargs)
        vectors = layer.vectors_of(x) * layer.reads_per_vector(x)
        self.meter.reads += vectors * layer.programme.placement.tiles

    def train(self, network: MappedNetwork, *, every: int = 1) -> TrainableNetwork:
        """The network on the chip with its weights as parameters, gradients through its circuit.

        For methods that declare CIRCUIT; every: see `MappedNetwork.trainable`.
        """
        self.write(network)
        return self._trainable(with_specs(network, self._specs), every)


def truth_of(chip: Chip) -> Chip:
    """What a perfect test would find of a chip: its stuck memories and defects, nothing else."""
    return replace(chip, variation=(), drift=None, read_noise=0.0)


def blind_to_wires(network: MappedNetwork) -> MappedNetwork:
    """The network as a method sees it that does not know the wires: they are perfect."""
    changed = {}
    for name, programme in network.programmes.items():
        wires = replace(
            programme.spec.wires, r_row_segment=0.0, r_col_segment=0.0, r_driver=0.0, r_sense=0.0
        )
        changed[name] = replace(programme, spec=replace(programme.spec, wires=wires))
    return replace(network, programmes=changed)


def with_specs(network: MappedNetwork, specs: Mapping[str, TileSpec]) -> MappedNetwork:
    """The network on tiles of these specs, by layer; only their wires may differ."""
    changed = {
        name: programme if programme.spec is specs[name] else replace(programme, spec=specs[name])
        for name, programme in network.programmes.items()
    }
    return replace(network, programmes=changed)


def specs_of(network: MappedNetwork) -> dict[str, TileSpec]:
    """The tile of every layer."""
    return {name: programme.spec for name, programme in network.programmes.items()}
