"""A network whose layers are programmed for tiles, and the only maker of readers of its chips."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.chip import HEALTHY, AnyChip, LayerOnChip
from nnmap.fidelity.extraction import Extraction
from nnmap.fidelity.fidelity import Fidelity
from nnmap.fidelity.linear_fit import spread
from nnmap.fidelity.readers import MAX_SOLVES, MatrixReader, fitted_reader, make_reader
from nnmap.layers.convolution import MappedConvolution
from nnmap.layers.layer import MappedLayer
from nnmap.layers.linear import MappedLinear
from nnmap.layers.records import ReadNoise
from nnmap.layers.without_weights import refuse_state
from nnmap.mapping.converters import Adc
from nnmap.mapping.correction import Correction
from nnmap.mapping.digital_product import DigitalProduct
from nnmap.mapping.pattern import matches, pattern_name, require_matches
from nnmap.mapping.periphery import Periphery
from nnmap.mapping.plan import AdcRange
from nnmap.mapping.programme import Programme
from nnmap.skeleton import with_layers
from nnmap.trainable import TrainableNetwork
from nnmap.watch import layer_input, peak_currents

NOTHING_SEEN = 1e-6  # converter range of a layer that saw no current, A


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """How ADC ranges are set: see `MappingPlan`. bits=None is no converter."""

    bits: int | None
    kind: AdcRange
    headroom: float


@dataclass(frozen=True, kw_only=True, eq=False)
class MappedNetwork:
    """The digital skeleton of a network, and a programme per layer that went to tiles.

    It has no fidelity and no chip: `on` makes a network that runs.

    skeleton: the network with `skeleton.OnTiles` where layers went to tiles, in eval mode.
    programmes, peripheries: by layer name, in order.
    sample: inputs of the whole network that converter ranges are set from.
    fit_inputs: how many of them serve to fit LINEAR where cells bend; 0 for nominal secants.
    products: matrix products that stay digital beside the layers, as those of attention.
    """

    skeleton: nn.Module
    programmes: Mapping[str, Programme]
    peripheries: Mapping[str, Periphery]
    ranges: Ranges
    sample: Tensor
    fit_inputs: int = 8
    products: tuple[DigitalProduct, ...] = ()

    def on(
        self,
        chip: AnyChip | None = None,
        fidelity: Fidelity | Mapping[str, Fidelity] = Fidelity.IDEAL,
        *,
        extraction: Extraction | None = None,
        max_solves: int = MAX_SOLVES,
    ) -> nn.Module:
        """The network as it runs on a chip; None is a chip without any fault.

        It is in eval mode and has nothing to train; gradients reach its inputs. To train, see
        `trainable`.

        fidelity: of all layers, or by patterns of layer names or of modules that contain them, of
            which the first that matches holds; layers that none matches are at IDEAL.
        extraction: memory, store and progress of LINEAR operators.
        max_solves: tile solutions that one call of a layer may ask of ngspice at SPICE.

        Where cells bend, LINEAR is fitted to NONLINEAR on this chip, see `linear_fit`.
        Raises InputError for a pattern that matches no layer, when a tile exceeds the memory
        budget, and where an input of the fit finds no balance.
        """
        chip = HEALTHY if chip is None else chip
        chosen = self._fidelities(fidelity)

        def made(name: str) -> MappedLayer:
            layer = LayerOnChip(name=name, programme=self.programmes[name], chip=chip)
            reader = make_reader(
                layer,
                chosen[name],
                to_fit=self.fit_inputs > 0,
                extraction=extraction,
                max_solves=max_solves,
            )
            noise = None
            if chip.read_noise:
                noise = ReadNoise(sigma=chip.read_noise, seed=chip.noise_seed(name))
            periphery = self.peripheries[name]
            kind = MappedLinear if periphery.window is None else MappedConvolution
            return kind(layer, periphery, chosen[name], reader, noise)

        layers = {name: made(name) for name in self.programmes}
        network = with_layers(self.skeleton, layers).eval().requires_grad_(False)
        network.register_load_state_dict_pre_hook(refuse_state)
        few = _evenly(self.sample, self.fit_inputs)
        if few is not None:
            _fit(network, layers, few, extraction or Extraction())
        return network

    def trainable(
        self,
        chip: AnyChip | None = None,
        fidelity: Fidelity = Fidelity.IDEAL,
        *,
        every: int = 1,
    ) -> "TrainableNetwork[MappedNetwork]":
        """The network on a chip with its weights as parameters, in training mode.

        every: at LINEAR, after how many steps the circuit is solved again; see `HeldOperators`.
        Raises InputError for a fidelity without operators and a chip with bridges between lines.
        """
        return TrainableNetwork(self, HEALTHY if chip is None else chip, fidelity, every=every)

    def _fidelities(self, fidelity: Fidelity | Mapping[str, Fidelity]) -> dict[str, Fidelity]:
        if isinstance(fidelity, Fidelity):
            return dict.fromkeys(self.programmes, fidelity)
        require_matches(fidelity, self.programmes)
        return {
            name: next((f for p, f in fidelity.items() if matches(name, (p,))), Fidelity.IDEAL)
            for name in self.programmes
        }

    def with_parts(
        self,
        *,
        skeleton: nn.Module,
        programmes: Mapping[str, Programme],
        peripheries: Mapping[str, Periphery],
    ) -> "MappedNetwork":
        """The same with these parts, its converter ranges as they are."""
        return replace(self, skeleton=skeleton, programmes=programmes, peripheries=peripheries)

    def with_programmes(self, changed: Mapping[str, Programme]) -> "MappedNetwork":
        """The same network with some layers programmed otherwise; converter ranges are set anew.

        Raises InputError for the name of no layer on tiles, and for the programme of a layer of
        another shape.
        """
        unknown = [name for name in changed if name not in self.programmes]
        if unknown:
            shown = ", ".join(pattern_name(name) for name in self.programmes)
            raise InputError(f"{unknown[0]!r} is none of the layers on tiles: {shown}.")
        for name, programme in changed.items():
            shape, expected = (p.placement.shape for p in (programme, self.programmes[name]))
            if shape != expected:
                raise InputError(f"a programme of {shape} is none of {name!r}, of {expected}.")
        merged = {name: changed.get(name, p) for name, p in self.programmes.items()}
        if all(merged[name] is self.programmes[name] for name in merged):
            return self
        return replace(self, programmes=merged).ranged()

    def corrected(self, corrections: Mapping[str, Correction]) -> "MappedNetwork":
        """The same network with these digital corrections, in place of what the layers had.

        Raises InputError for the name of no layer on tiles.
        """
        unknown = [name for name in corrections if name not in self.peripheries]
        if unknown:
            raise InputError(
                f"{unknown[0]!r} is none of the layers on tiles: {', '.join(self.peripheries)}."
            )
        changed = {
            name: replace(self.peripheries[name], correction=c) for name, c in corrections.items()
        }
        return replace(self, peripheries={**self.peripheries, **changed})

    def ranged(self) -> "MappedNetwork":
        """The same network with its ADC ranges set from the sample, at IDEAL without faults."""
        peripheries = self.peripheries
        open_ended = {n: replace(p, adc=_continuous(p.adc)) for n, p in peripheries.items()}
        free = replace(self, peripheries=open_ended)
        if self.ranges.bits is None:
            return free
        peaks = {} if self.ranges.kind == "full" else peak_currents(free.on(), self.sample)
        found = {}
        for name, periphery in peripheries.items():
            programme = self.programmes[name]
            if self.ranges.kind == "full":
                i_max: float | np.ndarray = full_scale(programme)
            else:
                i_max = self._range(programme, peaks[name])
            adc = Adc(bits=self.ranges.bits, i_max=i_max, signed=periphery.adc.signed)
            found[name] = replace(periphery, adc=adc)
        return replace(self, peripheries=found)

    def _range(self, programme: Programme, peaks: Sequence[Tensor]) -> float | np.ndarray:
        """ADC range of a layer, A, or of every column, A [tiles, cols]."""
        shared = max(float(peak.max()) for peak in peaks) or NOTHING_SEEN
        if self.ranges.kind == "shared":
            return shared * self.ranges.headroom
        p = programme.placement
        found = np.full((p.tiles, p.cols), shared)  # a column that saw no current has the layer's
        for group, peak in zip(p.row_groups, peaks, strict=True):
            tile, col = group.tiles[group.columns // p.cols], group.columns % p.cols
            seen = peak.double().numpy()
            found[tile, col] = np.where(seen > 0, seen, shared)
        return found * self.ranges.headroom


NetworkInTraining = TrainableNetwork[MappedNetwork]


def _continuous(adc: Adc) -> Adc:
    return Adc(bits=None, i_max=1.0, signed=adc.signed)


def full_scale(programme: Programme) -> float:
    """Current of a column of cells at LRS as they are at IDEAL, all rows at the read voltage, A."""
    return programme.spec.rows * programme.cell_levels.on * programme.spec.v_read


def _evenly(sample: Tensor, count: int) -> Tensor | None:
    """Some of the inputs, evenly spread, or None of them."""
    if not count:
        return None
    return sample[torch.linspace(0, len(sample) - 1, min(count, len(sample))).long()]


def _fit(
    network: nn.Module, layers: Mapping[str, MappedLayer], few: Tensor, extraction: Extraction
) -> None:
    """Fit the layers at LINEAR whose cells bend, each at what reaches it on this very chip.

    The sample runs through the network once. Each layer is fitted before it reads, so that the
    next one sees what it will see. Noise is left out, nothing is counted.
    """
    waiting = {
        name: layer
        for name, layer in layers.items()
        if isinstance(layer.reader, MatrixReader) and layer.reader.curve is not None
    }
    if not waiting:
        return

    def fit(layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        assert isinstance(layer, MappedLayer) and isinstance(layer.reader, MatrixReader)
        if waiting.pop(layer.name, None) is not None:  # one in several places: in the first
            x = layer_input(args, kwargs)
            volts = [v.to("cpu", torch.float64).numpy() for v in layer.row_voltages(x)]
            inputs = [spread(v, len(few)) for v in volts]
            layer.reader = fitted_reader(layer.reader, layer.on_chip, inputs, extraction)

    with ExitStack() as stack, torch.no_grad():
        for layer in layers.values():
            stack.enter_context(layer.unrecorded())
        for layer in list(waiting.values()):
            hook = layer.register_forward_pre_hook(fit, with_kwargs=True)
            stack.callback(hook.remove)
        network(few)
