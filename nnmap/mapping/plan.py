"""Mapping plans: which layers go on tiles, and how."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from netlists.cells import is_linear
from netlists.errors import InputError
from netlists.tile import TileSpec
from nnmap.mapping.converters import MAX_BITS, Negative
from nnmap.mapping.encode import Encoding, outputs_per_tile
from nnmap.mapping.encode import encoding as encoding_named
from nnmap.mapping.levels import Levels
from nnmap.mapping.pattern import matches, require_matches
from nnmap.mapping.slicing import Slicing, sliced

InputMode = Literal["parallel", "serial"]
AdcRange = Literal["shared", "column", "full"]
MAX_TILE = 4096  # rows or columns; a dense operator of such a tile takes 128 MiB


@dataclass(frozen=True, kw_only=True)
class MappingPlan:
    """How layers become tiles.

    spec: the tile.  encoding: "pair" or "offset".
    weight_bits, device_bits: fixed-point weights over devices of that many bits (see `slicing`);
        without weight_bits a device holds any value between its states. Where device_bits is left
        out one device holds a weight, or each sign of it: weight_bits with an offset column, one
        less in pairs, whose columns are the sign.
    levels: "cell", levels evenly spaced in the conductance that cells show at the read voltage, or
        "memory", in that of the memories behind their transistors, as papers assume.
    dac_bits, adc_bits: converter resolution; None leaves a converter out.
    inputs: "parallel" for one voltage per input, "serial" for one bit at a time.
    negative: how negative inputs and flipped rows are driven, see `converters.Dac`.
    adc_range: "shared", one range per layer, and "column", one per column, are set from the sample;
        "full" is the current of a column of LRS cells with all rows driven.
    adc_headroom: sampled converter range over the largest fault-free column current seen; faults
        raise currents, and what exceeds the range saturates and is counted.
    offset_faults: whether the offset column's memories can be stuck like any other.
    fit_inputs: how many inputs of the sample, and of row voltages of each tile, serve to fit LINEAR
        to NONLINEAR where cells bend; 0 takes every cell at its secant at the read voltage.
    layers: patterns (as in a shell) of the names of the layers to map, or of modules that contain
        them; a network that is one layer is named "(root)".
    digital: patterns of those to leave out all the same.
    digital_1x1: leave 1x1 convolutions digital, as drop-connect (Section II-C) does.
    fold_batch_norm: fold each batch norm into the layer it follows before mapping; else batch
        norms stay digital layers of their own.

    Raises InputError for values out of range.
    """

    spec: TileSpec
    encoding: str = "pair"
    weight_bits: int | None = None
    device_bits: int | None = None
    levels: Levels = "cell"
    dac_bits: int | None = 8
    inputs: InputMode = "parallel"
    negative: Negative = "second read"
    adc_bits: int | None = 8
    adc_range: AdcRange = "shared"
    adc_headroom: float = 1.25
    offset_faults: bool = True
    fit_inputs: int = 8
    layers: tuple[str, ...] = ("*",)
    digital: tuple[str, ...] = ()
    digital_1x1: bool = False
    fold_batch_norm: bool = False

    def __post_init__(self) -> None:
        for name, choices in (
            ("inputs", get_args(InputMode)),
            ("levels", get_args(Levels)),
            ("negative", get_args(Negative)),
            ("adc_range", get_args(AdcRange)),
        ):
            if getattr(self, name) not in choices:
                raise InputError(
                    f"{name}={getattr(self, name)!r} is not one of {', '.join(choices)}."
                )
        signed = self.negative == "negative drive"  # currents of both signs: a bit for the sign
        for name, least in (("dac_bits", 1), ("adc_bits", 1 + signed)):
            bits = getattr(self, name)
            if bits is not None and not least <= bits <= MAX_BITS:
                raise InputError(
                    f"{name}={bits} must lie in {least}..{MAX_BITS}, or be left out for no "
                    "converter."
                )
        if self.inputs == "serial" and self.dac_bits is None:
            raise InputError("serial inputs need a number of bits; set dac_bits.")
        if self.negative == "negative drive" and not is_linear(self.spec.cell):
            raise InputError(
                f"negative='negative drive' needs a cell that obeys Ohm's law: "
                f"{type(self.spec.cell).__name__} of {type(self.spec.cell.rram).__name__} is "
                "calibrated for forward voltages; use 'second read'."
            )
        if max(self.spec.rows, self.spec.cols) > MAX_TILE:
            raise InputError(
                f"a tile of {self.spec.rows}x{self.spec.cols} exceeds {MAX_TILE} lines a side; "
                "use smaller tiles, layers are cut to fit."
            )
        for name in ("layers", "digital"):
            if isinstance(getattr(self, name), str):
                raise InputError(f"{name}={getattr(self, name)!r} must be a list of patterns.")
        chosen = self.encoder()
        if outputs_per_tile(chosen, self.spec.cols) < 1:
            needed = next(n for n in range(1, 99) if outputs_per_tile(chosen, n) >= 1)
            cols = self.spec.cols
            raise InputError(
                f"a tile of {cols} column{'s' * (cols != 1)} holds no weight in "
                f"{self.encoding!r} encoding; use at least {needed} columns."
            )
        if self.fit_inputs < 0:
            raise InputError(f"fit_inputs={self.fit_inputs} must be at least 0.")
        if not 0 < self.adc_headroom < float("inf"):
            raise InputError(f"adc_headroom={self.adc_headroom!r} must be positive and finite.")

    def encoder(self) -> Encoding:
        """The encoding with its slices."""
        if self.weight_bits is None:
            if self.device_bits is not None:
                raise InputError(
                    f"device_bits={self.device_bits} slices fixed-point weights; set weight_bits."
                )
            return encoding_named(self.encoding)
        device_bits = self.device_bits
        if device_bits is None:
            device_bits = self.weight_bits - (self.encoding == "pair")
        return sliced(self.encoding, Slicing(weight_bits=self.weight_bits, device_bits=device_bits))

    def chooses(self, name: str, layer: nn.Module) -> bool:
        """Whether the plan puts this layer on tiles."""
        if self.digital_1x1 and getattr(layer, "kernel_size", None) == (1, 1):
            return False
        return self.takes(name)

    def takes(self, name: str) -> bool:
        """Whether the patterns put what has this name on tiles."""
        return matches(name, self.layers) and not matches(name, self.digital)

    def require_matches(self, names: Iterable[str]) -> None:
        """Raise InputError for a pattern that matches no layer: most likely a slip."""
        require_matches((*self.layers, *self.digital), names)
