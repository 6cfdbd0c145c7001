"""Layers on tiles: the core of reads that all kinds of layers share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.identity import digest
from nnmap.chip import LayerOnChip
from nnmap.fidelity.fidelity import Fidelity, cell_function
from nnmap.fidelity.readers import MatrixReader, Reader, columns_of
from nnmap.layers.compiled.packing import ReadGroup
from nnmap.layers.compiled.reads import Clips, CompiledReads, InputDrive
from nnmap.layers.planes import Planes
from nnmap.layers.records import ClipCount, ReadNoise
from nnmap.layers.without_weights import WithoutWeights
from nnmap.mapping.converters import Adc, Dac
from nnmap.mapping.decode import decoders
from nnmap.mapping.periphery import Periphery
from nnmap.mapping.placement import RowGroup
from nnmap.mapping.programme import Programme
from nnmap.mapping.straight import recorded

CHUNK = 4096  # input vectors multiplied at a time; bounds memory and keeps currents in cache


class MappedLayer(WithoutWeights, ABC):
    """A layer whose matrix product runs on the tiles of one chip at one fidelity.

    Non-negative inputs take one read (one per bit where inputs enter serially); inputs of both
    signs, and flipped rows, take two, subtracted after conversion, unless rows are driven at
    voltages of both signs (`Dac.negative`). The currents of each tile are converted, decoded and
    added digitally; the bias is digital. Arithmetic is in float64, or float32 after `.float()`;
    currents come from `reader`.
    """

    bias: Tensor | None
    _branches: Tensor | None
    _number: Tensor
    _shift: Tensor

    def __init__(
        self,
        layer: LayerOnChip,
        periphery: Periphery,
        fidelity: Fidelity,
        reader: Reader,
        noise: ReadNoise | None = None,
    ) -> None:
        super().__init__(layer.name)
        self.on_chip = layer
        self.periphery = periphery
        self.fidelity = fidelity
        self.reader = reader
        self.clips = ClipCount()
        self.noise = noise
        self._packed: tuple[MatrixReader, tuple[object, ...], CompiledReads] | None = None
        bias = periphery.bias
        if bias is not None:  # a copy: the network that runs shares nothing with what made it
            bias = bias.detach().to(torch.float64, copy=True)
        self.register_buffer("bias", bias)
        programme = layer.programme
        self.register_buffer("_shift", torch.from_numpy(programme.shift.copy()), persistent=False)
        # Empty: says where and in which precision the layer computes.
        self.register_buffer("_number", torch.empty(0, dtype=torch.float64), persistent=False)
        self._register_branches(programme)
        self._register_groups(programme)

    def _register_groups(self, programme: Programme) -> None:
        """Index, decoder and converter buffers of every row group."""
        p = programme.placement
        steps = self.adc.steps(p.tiles, p.cols)
        found = decoders(programme, cell_function(programme, self.fidelity))
        self._slices: list[slice | None] = []
        self._in_order: list[bool] = []  # whether every read column is decoded once, in turn
        for k, (group, decoder) in enumerate(zip(p.row_groups, found, strict=True)):
            self._slices.append(_as_slice(group.inputs))
            self._in_order.append(np.array_equal(decoder.column, np.arange(len(group.columns))))
            for name, array in (
                ("inputs", group.inputs),
                ("flip", group.flip),
                ("step", steps[group.tiles].ravel()[group.columns]),
                ("column", decoder.column),
                ("output", decoder.output),
                ("weight", decoder.weight * self._gains(group)[decoder.column]),
            ):
                tensor = torch.from_numpy(np.array(array))
                self.register_buffer(f"_{name}_{k}", tensor, persistent=False)

    def _gains(self, group: RowGroup) -> FloatArray:
        """By which the readings of a group's columns are multiplied, [read columns]."""
        gain = None if self.periphery.correction is None else self.periphery.correction.gain
        if gain is None:
            return np.ones(len(group.columns))
        return gain[group.tiles].ravel()[group.columns]

    def _register_branches(self, programme: Programme) -> None:
        """The matrix of the correction's branches, [outputs, inputs], where there are any."""
        correction, p = self.periphery.correction, programme.placement
        matrix = None
        if correction is not None:
            gain = np.shape(correction.gain_or_one)
            fits = correction.gain is None or gain == (p.tiles, p.cols)
            if correction.shape != p.shape or not fits:
                raise InputError(
                    f"{self.name}: the correction was made for other tiles: {correction.shape} "
                    f"with gains {gain}, and the layer has {p.shape} on {p.tiles} tiles of "
                    f"{p.cols} columns; correct after the last change of places."
                )
            if correction.branches:
                matrix = torch.from_numpy(correction.matrix)
        self.register_buffer("_branches", matrix, persistent=False)

    def _with_branches(self, y: Tensor, x: Tensor) -> Tensor:
        """Sums y [outputs, vectors] of a part of the batch x, corrected."""
        if self._branches is None:
            return y
        return y.addmm(self._branches, self._vectors(self._rounded(x)))

    def _rounded(self, x: Tensor) -> Tensor:
        """Inputs as the converters round them."""
        return self.dac.signed(x) * (self.dac.x_max / self.dac.v_read)

    def entering(self, x: Tensor) -> Iterator[Tensor]:
        """What enters the matrix, [inputs of all groups, vectors], as the converters round it."""
        for part in self._chunks(self._numbers(x)):
            yield self._vectors(self._rounded(part))

    def _of_group(self, name: str, group: int) -> Tensor:
        return self.get_buffer(f"_{name}_{group}")

    @property
    def programme(self) -> Programme:
        """What was ordered of the tiles."""
        return self.on_chip.programme

    @property
    def dac(self) -> Dac:
        """What drives the rows."""
        return self.periphery.dac

    @property
    def adc(self) -> Adc:
        """What converts the columns."""
        return self.periphery.adc

    @property
    def row_groups(self) -> tuple[RowGroup, ...]:
        """Tiles by the row voltages that they share."""
        return self.programme.placement.row_groups

    def _compiled(self, x: Tensor) -> CompiledReads | None:
        """All reads of the layer in one pass, in main memory; None where that cannot be.

        Noise is drawn between product and conversion, and gradients need every step.
        """
        reader = self.reader
        here = self.device.type == "cpu" and self._number.dtype in (torch.float64, torch.float32)
        if not here or self._noise is not None or recorded(x):
            return None
        if not isinstance(reader, MatrixReader):
            return None
        # Packed anew when what it copied was replaced, converted or written to.
        copied = [self._number, self._shift, *reader.buffers()]
        copied += [] if self.bias is None else [self.bias]
        key = tuple((t.data_ptr(), t.dtype, t._version) for t in copied)
        if self._packed is None or self._packed[0] is not reader or self._packed[1] != key:
            self._packed = reader, key, self._pack(reader)
        return self._packed[2]

    def _pack(self, reader: MatrixReader) -> CompiledReads:
        gain = self.dac.x_max / self.dac.v_read
        groups = []
        for k, group in enumerate(self.row_groups):
            column, weight = self._of_group("column", k), self._of_group("weight", k)
            starts = torch.searchsorted(column, torch.arange(len(group.columns) + 1))
            groups.append(
                ReadGroup(
                    inputs=group.inputs,
                    flip=group.flip,
                    operator=reader.operator(k).numpy(),
                    step=None if self.adc.bits is None else self._of_group("step", k).numpy(),
                    indptr=starts.numpy(),
                    outputs=self._of_group("output", k).numpy(),
                    coefficients=(weight * gain).numpy(),
                )
            )
        shape = self.programme.placement.shape
        bias = self._shift if self.bias is None else self._shift + self.bias
        table = [0.0, self.dac.v_read] if reader.curve is None else reader.curve.table.numpy()
        return CompiledReads.of(
            groups,
            inputs=shape.all_inputs,
            outputs=shape.all_outputs,
            drive=InputDrive(
                x_max=self.dac.x_max,
                volts=np.asarray(table, dtype=np.float64),
                bits=self.dac.bits,
                serial=self.dac.serial,
                bipolar=self.dac.negative == "negative drive",
            ),
            top=None if self.adc.bits is None else self.adc.top,
            lowest=self.adc.lowest,
            bias=bias.detach().numpy(),
            dtype=self._number.dtype,
        )

    def _count(self, clips: Clips) -> None:
        for name in ("dac", "dac_of", "adc", "adc_of"):
            setattr(self.clips, name, getattr(self.clips, name) + getattr(clips, name))

    @property
    def noise(self) -> ReadNoise | None:
        """Noise of every read; setting it starts its stream anew."""
        return self._noise

    @noise.setter
    def noise(self, noise: ReadNoise | None) -> None:
        self._noise = noise
        self._stream = torch.Generator().manual_seed(noise.seed if noise else 0)

    @property
    def device(self) -> torch.device:
        """Where the layer computes."""
        return self._number.device

    def held(self) -> str:
        """See `WithoutWeights.held`: orders, converters, fidelity and chip."""
        chip = self.on_chip.chip
        return digest(self.programme, self.periphery, self.fidelity.value, chip)

    def get_extra_state(self) -> str:
        """What tells in a state dict which layer it is of."""
        return self.held()

    def set_extra_state(self, state: object) -> None:
        """Nothing: the state was found to be this layer's own."""

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Reads in this context have no noise, and nothing is counted."""
        clips, noise = self.clips, self._noise
        self.clips, self._noise = ClipCount(), None
        try:
            yield
        finally:
            self.clips, self._noise = clips, noise

    @abstractmethod
    def _vectors(self, x: Tensor) -> Tensor:
        """What enters the matrix, [inputs of all groups, vectors], from a layer input."""

    @abstractmethod
    def _chunks(self, x: Tensor) -> Iterator[Tensor]:
        """The batch in parts of bounded size."""

    @abstractmethod
    def vectors_of(self, x: Tensor) -> int:
        """Input vectors of the matrix that a layer input makes."""

    def _numbers(self, x: Tensor) -> Tensor:
        return x.to(self._number)

    def reads_per_vector(self, x: Tensor) -> int:
        """Reads that an input vector of x takes: signs times bits."""
        two = self.dac.negative == "second read" and (
            self.programme.placement.flips or bool((x < 0).any())
        )
        return (1 + two) * self.dac.planes_per_input

    def _planes(self, x: Tensor, *, applied: bool = True) -> Iterator[Planes]:
        """Every read of x, in which each plane is what the reader takes in its place."""
        flips = self.programme.placement.flips
        both = bool((x < 0).any())
        if self.dac.negative == "negative drive":
            signs = torch.where(x < 0, -1.0, 1.0).to(x) if both else None
            # Not abs, whose gradient at 0 is 0.
            for weight, volts in self.dac.planes(x if signs is None else x * signs):
                v = self._entering(volts if signs is None else signs * volts, applied)
                yield Planes(weight=weight, straight=v, flipped=-v if flips else None)
            return
        positive = [(w, self._entering(v, applied)) for w, v in self.dac.planes(x.clamp(min=0.0))]
        negative: list[tuple[float, Tensor | None]] = [(w, None) for w, _ in positive]
        if both:
            # Not clamp: an input of 0 would pass its gradient to both parts.
            parts = self.dac.planes(torch.relu(-x))
            negative = [(w, self._entering(v, applied)) for w, v in parts]
        for (weight, plus), (_, minus) in zip(positive, negative, strict=True):
            yield Planes(weight=weight, straight=plus, flipped=minus)
        if both or flips:
            for (weight, plus), (_, minus) in zip(positive, negative, strict=True):
                yield Planes(weight=-weight, straight=minus, flipped=plus)

    def _entering(self, volts: Tensor, applied: bool) -> Tensor:
        return self._vectors(self.reader.applied(volts) if applied else volts)

    def _rows(self, planes: Planes, group: int) -> Tensor | None:
        index = self._slices[group]
        inputs = self._of_group("inputs", group) if index is None else index
        return planes.of_rows(self.row_groups[group], inputs, self._of_group("flip", group))

    def row_voltages(self, x: Tensor) -> list[Tensor]:
        """Row voltages of all reads of x, V [vectors, rows], per row group.

        Read for read alike: a group that a read does not drive has 0 V there.
        """
        rows = self.programme.spec.rows
        found: list[list[Tensor]] = [[] for _ in self.row_groups]
        for part in self._chunks(self._numbers(x)):
            for planes in self._planes(part, applied=False):
                for k, group in enumerate(self.row_groups):
                    v = self._number.new_zeros(planes.vectors, rows)
                    driven = self._rows(planes, k)
                    if driven is not None:
                        v[:, torch.from_numpy(group.rows).to(v.device)] = driven.T
                    found[k].append(v)
        empty = self._number.new_zeros(0, rows)
        return [torch.cat(volts) if volts else empty for volts in found]

    def currents_of(self, tile: int, v: Tensor) -> Tensor:
        """Read columns of one tile, A [vectors, read columns], at its row voltages [vectors, rows].

        At the layer's fidelity, before conversion.
        """
        p = self.programme.placement
        number = int(p.group_of[tile])
        here, _ = columns_of(p, tile)
        rows = torch.from_numpy(p.row_groups[number].rows).to(v.device)
        return self.reader.currents(number, self.reader.applied(v[:, rows].T))[here].T

    def _currents(self, planes: Planes) -> Iterator[tuple[int, Tensor]]:
        """(row group, A [read columns, vectors]), one group at a time, which stays in cache."""
        for k in range(len(self.row_groups)):
            v = self._rows(planes, k)
            if v is None:
                continue
            i = self.reader.currents(k, v)
            if self._noise is not None:
                deviation = self.reader.deviation(k, v)
                draw = torch.randn(i.shape, generator=self._stream, dtype=i.dtype).to(i.device)
                i = i.addcmul(deviation, draw, value=self._noise.sigma)
            yield k, i

    def peak_currents(self, x: Tensor) -> list[Tensor]:
        """Largest current of each read column over the inputs, A, per row group [read columns]."""
        peaks = [self._number.new_zeros(len(g.columns), device="cpu") for g in self.row_groups]
        for part in self._chunks(self._numbers(x)):
            for planes in self._planes(part):
                for k, i in self._currents(planes):
                    if i.shape[1]:
                        peaks[k] = torch.maximum(peaks[k], i.abs().amax(1).cpu())
        return peaks

    def _multiply(self, x: Tensor) -> Tensor:
        """Layer input -> sums of weight times input, [outputs, vectors]."""
        x = self._numbers(x)
        self.clips.dac += self.dac.clipped(x)
        y: Tensor | None = None
        for planes in self._planes(x):
            for k, i in self._currents(planes):
                code, clipped = self.adc.convert(i, self._of_group("step", k)[:, None])
                self.clips.adc += clipped
                self.clips.adc_of += 0 if self.adc.bits is None else i.numel()
                if y is None:
                    y = i.new_zeros(self.programme.placement.shape.all_outputs, i.shape[1])
                output, weight = self._of_group("output", k), self._of_group("weight", k)
                entries = code if self._in_order[k] else code[self._of_group("column", k)]
                y = y.index_add(0, output, entries * (weight * planes.weight)[:, None])
        if self.dac.bits is not None:
            self.clips.dac_of += x.numel() * self.reads_per_vector(x) // self.dac.planes_per_input
        assert y is not None
        y = y * (self.dac.x_max / self.dac.v_read) + self._shift[:, None]
        y = self._with_branches(y, x)
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None]

    def _products(self, x: Tensor, vectors: int) -> Iterator[Tensor]:
        """`_multiply` of every chunk of a layer input that makes so many input vectors."""
        self.reader.require_affordable(vectors * self.reads_per_vector(x))
        for part in self._chunks(x):
            yield self._multiply(part)

    def extra_repr(self) -> str:
        """What the layer is made of."""
        shape, tiles = self.programme.placement.shape, self.programme.placement.tiles
        groups = f"{shape.groups} groups of " if shape.groups > 1 else ""
        return f"{groups}{shape.inputs}x{shape.outputs} on {tiles} tiles, {self.fidelity.value}"


def _as_slice(inputs: np.ndarray) -> slice | None:
    """Inputs that follow each other, as a slice: a view instead of a copy."""
    if len(inputs) and (np.diff(inputs) == 1).all():
        return slice(int(inputs[0]), int(inputs[-1]) + 1)
    return None
