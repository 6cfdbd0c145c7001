"""A chip on a bench: it can be programmed, run and read, and it is never shown."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from netlists.errors import InputError
from netlists.tile import TileSpec
from nnmap.chip import AnyChip, Chip
from nnmap.fidelity.extraction import Extraction
from nnmap.fidelity.fidelity import Fidelity
from nnmap.layers.layer import MappedLayer
from nnmap.mitigations.known import Needs
from nnmap.mitigations.meter import Meter
from nnmap.mitigations.operators import Operators
from nnmap.network import MappedNetwork, NetworkInTraining
from nnmap.skeleton import OnTiles, replace_modules
from nnmap.watch import layer_input, mapped_layers

NO_WRITE = 1e-6  # of G_LRS; orders that differ by less are the same one, rounded to float32


class Run:
    """A network programmed onto the bench's chip, running; what it reads is metered.

    Digital layers are the network's own copies: a method may change them, `network` keeps that.
    It lasts until the bench runs or writes another network, or until its `with` ends.
    """

    def __init__(self, module: nn.Module, network: MappedNetwork, require: Callable[[], None]):
        # Functions, so that no attribute leads to the chip.
        def read(x: Tensor) -> Tensor:
            require()
            with torch.no_grad():
                result: Tensor = module(x)
            return result

        def digital(kinds: tuple[type[nn.Module], ...]) -> dict[str, nn.Module]:
            tiles = [m for m in module.modules() if isinstance(m, MappedLayer)]
            inside = {id(m) for tile in tiles for m in tile.modules()}
            return {
                name: m
                for name, m in module.named_modules()
                if isinstance(m, kinds) and not any(id(part) in inside for part in m.modules())
            }

        def programmed() -> MappedNetwork:
            skeleton = replace_modules(module, MappedLayer, lambda _, at: OnTiles(at.name))
            return replace(network, skeleton=skeleton.eval())

        self._read, self._digital, self._programmed = read, digital, programmed

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs for inputs x [batch, ...], without gradients."""
        return self._read(x)

    def digital(self, *kinds: type[nn.Module]) -> dict[str, nn.Module]:
        """The digital layers of these kinds, by name; none of them knows or contains a tile."""
        return self._digital(kinds)

    def network(self) -> MappedNetwork:
        """The mapped network with its digital layers as they are now."""
        return self._programmed()


class Bench:
    """One chip at one fidelity, as its owner can use it.

    run, train, operators: see there.  meter: what was spent so far.
    fidelity: how the chip is read.

    The chip and the tiles' wires are out of reach: what holds them are functions. The layers on
    tiles compute in `dtype`; digital ones keep the precision of the network.
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
        self._turn = [0]  # counts what is done to the chip; shared with what `seen_by` gives
        specs: dict[str, TileSpec] = {}

        def mount(network: MappedNetwork) -> None:
            if not specs:
                specs.update(specs_of(network))

        def on_chip(network: MappedNetwork) -> nn.Module:
            module = with_specs(network, specs).on(chip, fidelity, extraction=extraction)
            for layer in mapped_layers(module).values():
                layer.to(dtype)
            return module.to(device)

        def trainable(network: MappedNetwork, every: int) -> NetworkInTraining:
            return with_specs(network, specs).trainable(chip, fidelity, every=every).to(device)

        def operators(network: MappedNetwork) -> Operators:
            as_matrix = Fidelity.IDEAL if fidelity is Fidelity.IDEAL else Fidelity.LINEAR
            seen = with_specs(network, specs).on(chip, as_matrix, extraction=extraction)
            return Operators.of(seen, as_matrix)

        self._operators: Callable[[MappedNetwork], Operators] = operators
        self._mount: Callable[[MappedNetwork], None] = mount
        self._on_chip: Callable[[MappedNetwork], nn.Module] = on_chip
        self._trainable: Callable[[MappedNetwork, int], NetworkInTraining] = trainable

    def seen_by(self, owner: str, needs: Needs) -> "Bench":
        """The same bench as a method of this name sees it, which declares these needs."""
        if Needs.CIRCUIT in needs:
            return self
        seen = copy.copy(self)

        def refused(network: MappedNetwork, every: int = 1) -> NoReturn:
            raise InputError(
                f"{owner} asks for CIRCUIT, which it does not declare; add it to its needs."
            )

        seen._trainable, seen._operators = refused, refused
        return seen

    def write(self, network: MappedNetwork) -> None:
        """Programme the chip with the network; memories whose order changed are written.

        The first call programmes a blank chip, which every deployment does, and counts nothing; the
        tiles of its network are those of the chip from then on.
        """
        self._mount(network)
        for name, programme in network.programmes.items():
            target, before = programme.target, self._programmed.get(name)
            if before is None:
                self._programmed[name] = target
                continue
            changed = np.ones(target.shape, dtype=np.bool_)
            if before.shape == target.shape:
                changed = np.abs(before - target) > NO_WRITE * programme.spec.cell.rram.g_lrs
                target = np.where(changed, target, before)
            if changed.any():
                self.meter.writes += int(np.count_nonzero(changed))
                self._programmed[name] = target
                self._turn[0] += 1

    @contextmanager
    def run(self, network: MappedNetwork) -> Iterator[Run]:
        """The network on the chip for a while; every tile read is metered."""
        self.write(network)
        module = self._on_chip(network)
        for layer in mapped_layers(module).values():
            layer.register_forward_pre_hook(self._count, with_kwargs=True)
        turn, mine = self._turn, self._turn[0] + 1
        turn[0] = mine

        def require() -> None:
            if turn[0] != mine:
                raise InputError(
                    "the chip no longer holds what this run programmed; open another bench.run."
                )

        try:
            yield Run(module, network, require)
        finally:
            turn[0] += 1

    def operators(self, network: MappedNetwork) -> Operators:
        """What the tiles of the chip compute, measured by driving each row alone.

        For methods that declare CIRCUIT. At LINEAR where the bench's fidelity has no operators.
        """
        self.write(network)
        self.meter.reads += sum(
            int(np.count_nonzero(programme.placement.row_input >= 0))
            for programme in network.programmes.values()
        )
        return self._operators(network)

    def _count(self, layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        assert isinstance(layer, MappedLayer)
        x = layer_input(args, kwargs)
        vectors = layer.vectors_of(x) * layer.reads_per_vector(x)
        self.meter.reads += vectors * layer.programme.placement.tiles

    def train(self, network: MappedNetwork, *, every: int = 1) -> NetworkInTraining:
        """The network on the chip with its weights as parameters, gradients through its circuit.

        For methods that declare CIRCUIT; every: see `MappedNetwork.trainable`.
        """
        self.write(network)
        model = self._trainable(network, every)
        for layer in model.layers().values():
            layer.register_forward_pre_hook(self._count, with_kwargs=True)
        return model


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
    """The network on tiles of these specs, by layer; only their wires may differ.

    A copy of a layer, named as a part of it, has its tiles. Raises InputError where more differs.
    """
    changed = {}
    for name, programme in network.programmes.items():
        spec = specs.get(name) or specs.get(name.rpartition(".")[0])
        if spec is None or _but_wires(programme.spec) != _but_wires(spec):
            raise InputError(
                f"{name}: the tiles became others than the chip has; a mitigation may change what "
                "lies on them, not what they are."
            )
        same = programme.spec is spec
        changed[name] = programme if same else replace(programme, spec=spec)
    return replace(network, programmes=changed)


def _but_wires(spec: TileSpec) -> tuple[object, ...]:
    return spec.rows, spec.cols, spec.cell, spec.v_read


def specs_of(network: MappedNetwork) -> dict[str, TileSpec]:
    """The tile of every layer."""
    return {name: programme.spec for name, programme in network.programmes.items()}
