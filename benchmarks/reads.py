"""A layer's reads compiled, in torch, and as the plain products of its tiles, timed side by side.

    python -m benchmarks.reads [ROUNDS]

64x64 tiles with made-up operators, 8-bit converters, OMP_NUM_THREADS threads. `plain` is torch.bmm
of row voltages that lie ready with the operators, and nothing else; much of its time is memory for
the currents. `torch` is DAC, products, ADC and decoding one after the other. Every round times all
of them, and the fastest of each is printed. `plain%` is plain over compiled; `gemm%` compares the
arithmetic of the products alone, over the time of the whole, with the rate of the machine's own
product of two large square matrices.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nnmap.layers.compiled.packing import ReadGroup
from nnmap.layers.compiled.reads import CompiledReads, InputDrive

ROWS = COLS = 64
TOP = 255  # of 8-bit converters
V_READ, G_ON = 0.2, 1e-4
SQUARE = 2048


@dataclass(frozen=True, kw_only=True)
class Layer:
    """kernel, stride, padding: of a convolution of `count` images of this size; a linear layer of
    `count` vectors is one of 1x1 images.  slices: devices per sign; 0 is one offset column a tile.
    """

    name: str
    channels: int
    outputs: int
    count: int
    size: int = 1
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    slices: int = 2

    @property
    def inputs(self) -> int:
        """Of one input vector."""
        return self.channels * self.kernel**2


@dataclass(frozen=True, kw_only=True)
class Window:
    """Of a layer's convolution, as compiled reads take it."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]


LAYERS = (
    Layer(name="linear 512-512", channels=512, outputs=512, count=4096),
    Layer(name="LeNet, conv 2", channels=40, outputs=64, count=50, size=14, kernel=5, padding=2),
    Layer(
        name="ResNet20, 16 channels", channels=16, outputs=16, count=50, size=32, kernel=3,
        padding=1, slices=1,
    ),
    Layer(
        name="ResNet20, 64 channels", channels=64, outputs=64, count=200, size=8, kernel=3,
        padding=1, slices=1,
    ),
    Layer(name="BNN 784-512, offset", channels=784, outputs=512, count=4096, slices=0),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Read:
    """decode: [columns, outputs]; the same for all row groups."""

    layer: Layer
    groups: tuple[ReadGroup, ...]
    operators: Tensor
    decode: Tensor
    step: float

    @property
    def work(self) -> int:
        """Floating-point operations of the products of one input vector."""
        return 2 * self.layer.inputs * len(self.decode)


def decoding(layer: Layer) -> tuple[Tensor, list[np.ndarray]]:
    """([columns, outputs], outputs that each column serves)."""
    signs = [16.0**k * sign for sign in (1, -1) for k in range(layer.slices)]
    columns: list[tuple[np.ndarray, np.ndarray]] = []
    if signs:
        for output in range(layer.outputs):
            columns += [(np.array([output]), np.array([sign])) for sign in signs]
    else:
        for first in range(0, layer.outputs, COLS - 1):
            held = np.arange(first, min(first + COLS - 1, layer.outputs))
            columns += [(np.array([output]), np.array([2.0])) for output in held]
            columns.append((held, np.full(len(held), -2.0)))
    decode = torch.zeros(len(columns), layer.outputs, dtype=torch.float64)
    for c, (served, weight) in enumerate(columns):
        decode[c, served] = torch.from_numpy(weight) / G_ON
    return decode, [served for served, _ in columns]


def made_up(layer: Layer) -> Read:
    rng = np.random.default_rng(0)
    decode, served = decoding(layer)
    step = 0.6 * ROWS * V_READ * G_ON / TOP
    groups = []
    operators = torch.zeros(-(-layer.inputs // ROWS), ROWS, len(decode), dtype=torch.float64)
    for k, first in enumerate(range(0, layer.inputs, ROWS)):
        inputs = np.arange(first, min(first + ROWS, layer.inputs))
        operator = rng.random((len(inputs), len(decode))) * G_ON
        operators[k, : len(inputs)] = torch.from_numpy(operator)
        groups.append(
            ReadGroup(
                inputs=inputs,
                operator=operator,
                step=step,
                indptr=np.cumsum([0, *map(len, served)]),
                outputs=np.concatenate(served),
                coefficients=decode.numpy()[decode.numpy() != 0],
            )
        )
    return Read(layer=layer, groups=tuple(groups), operators=operators, decode=decode, step=step)


def patches(layer: Layer, x: Tensor) -> Tensor:
    """Images -> input vectors, [vectors, inputs]."""
    if layer.size == 1:
        return x.flatten(1)
    found = torch.nn.functional.unfold(x, layer.kernel, 1, layer.padding, layer.stride)
    return found.mT.reshape(-1, layer.inputs)


def voltages(x: Tensor) -> Tensor:
    return torch.round(x.clamp(0.0, 1.0) * TOP) / TOP * V_READ


def split(v: Tensor) -> Tensor:
    """[vectors, inputs] -> [row groups, vectors, ROWS]."""
    v = torch.nn.functional.pad(v, (0, -v.shape[1] % ROWS))
    return v.view(len(v), -1, ROWS).transpose(0, 1).contiguous()


def torch_read(read: Read, operators: Tensor, decode: Tensor, x: Tensor) -> tuple[Tensor, int]:
    """One row group after the other, as a layer of torch operations does it."""
    total, clipped = None, 0
    v = patches(read.layer, voltages(x)).T.contiguous()
    for k, group in enumerate(read.groups):
        rows = len(np.asarray(group.inputs))
        i = (operators[k, :rows].T @ v[k * ROWS : k * ROWS + rows]).T
        code = i.div_(read.step).round_()
        if float(code.max()) > TOP:
            clipped += int((code > TOP).sum())
        i = code.clamp_(0.0, TOP).mul_(read.step)
        total = i if total is None else total.add_(i)
    return total @ decode, clipped


def fastest(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Seconds of each, by turns, so that what else the machine does meets all of them."""
    times: list[list[float]] = [[] for _ in works]
    for turn in range(rounds + 1):
        for seconds, work in zip(times, works, strict=True):
            start = time.perf_counter()
            work()
            if turn:  # the first compiles and allocates
                seconds.append(time.perf_counter() - start)
    return [min(seconds) for seconds in times]


def measure(read: Read, dtype: torch.dtype, rounds: int) -> None:
    layer = read.layer
    torch.manual_seed(0)
    x = torch.rand(layer.count, layer.channels, layer.size, layer.size).to(dtype)
    operators, decode = read.operators.to(dtype), read.decode.to(dtype)
    drive = InputDrive(x_max=1.0, volts=np.array([0.0, V_READ]), bits=8)
    compiled = CompiledReads.of(
        read.groups, inputs=layer.inputs, outputs=layer.outputs, drive=drive, top=TOP, dtype=dtype
    )
    window = Window(
        kernel=(layer.kernel,) * 2,
        stride=(layer.stride,) * 2,
        dilation=(1, 1),
        padding=(layer.padding,) * 4,
    )
    v = split(patches(layer, voltages(x)))
    square = torch.rand(SQUARE, SQUARE, dtype=dtype)

    def compiled_read() -> Tensor:
        if layer.size == 1:
            return compiled.linear(x.flatten(1))[0]
        return compiled.convolve(x, window)[0].flatten(2).mT.reshape(-1, layer.outputs)

    whole, in_torch, plain, machine = fastest(
        (
            compiled_read,
            lambda: torch_read(read, operators, decode, x),
            lambda: torch.bmm(v, operators),
            lambda: torch.mm(square, square),
        ),
        rounds,
    )
    right = torch_read(read, operators, decode, x)[0]
    error = float((compiled_read() - right).abs().max() / right.abs().max())
    rate = read.work * v.shape[1] / whole / (2 * SQUARE**3 / machine)
    print(
        f"{layer.name:<22} {str(dtype).removeprefix('torch.')} {1e3 * whole:8.1f} "
        f"{1e3 * in_torch:8.1f} {1e3 * plain:8.1f} ms {in_torch / whole:7.1f} x "
        f"{plain / whole:6.0%} {rate:6.0%}   {error:.0e}",
        flush=True,
    )


def main(arguments: list[str]) -> None:
    rounds = int(arguments[0]) if arguments else 9
    print(f"{torch.get_num_threads()} threads, fastest of {rounds}")
    print(
        f"{'':<22} {'':<7} {'compiled':>8} {'torch':>8} {'plain':>8}    {'torch x':>9} "
        f"{'plain%':>6} {'gemm%':>6}   difference"
    )
    for layer in LAYERS:
        read = made_up(layer)
        for dtype in (torch.float64, torch.float32):
            measure(read, dtype, rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
