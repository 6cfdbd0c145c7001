"""Whole networks on tiles: accuracy and time of every step, measured.

    python -m benchmarks.networks lenet
    python -m benchmarks.networks resnet20 path/to/resnet20.th [images]
    python -m benchmarks.networks layer
    python -m benchmarks.networks extraction [FOLDER]

One chip each, 64x64 tiles, LINEAR fidelity with wires, 8-bit converters. All but `layer` and
`extraction` need the data sets. `extraction` takes AlexNet with 62 M weights; operators are kept in
FOLDER as float32 (about 1 GB), where the same command continues after an interrupt.
"""

import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, nn

from netlists import InputError, OneR, TileSpec, Wires
from nnmap import (
    Extraction,
    Fidelity,
    MappedLayer,
    MappingPlan,
    OperatorStore,
    accuracy,
    alexnet,
    load_checkpoint,
    map_network,
    mapped_layers,
    mapping_table,
    resnet20,
)
from nnmap.fidelity.readers import MatrixReader
from nnmap.networks.pretrained import images, pretrained
from nnmap.training.data import IMAGENET_MEAN, IMAGENET_STD, load

Result = TypeVar("Result")
SAMPLE = 128  # training images that set converter ranges


def timed(what: str, work: Callable[[], Result]) -> Result:
    start = time.perf_counter()
    result = work()
    shown = f"  {result:.4f}" if isinstance(result, float) else ""
    print(f"{what:<44} {time.perf_counter() - start:8.2f} s{shown}", flush=True)
    return result


def measure(model: nn.Module, plan: MappingPlan, sample: Tensor, x: Tensor, y: Tensor) -> None:
    def score(network: nn.Module) -> Callable[[], float]:
        return lambda: accuracy(network, x, y, batch=250)

    print(f"{len(x)} images, {torch.get_num_threads()} threads")
    timed("torch, as it comes", score(model))
    rng = np.random.default_rng(0)
    network = timed("map", lambda: map_network(model, plan, rng=rng, sample=sample))
    print(mapping_table(network))
    chip = timed("extract LINEAR operators", lambda: network.on(fidelity=Fidelity.LINEAR))
    timed("LINEAR, 8-bit converters", score(chip))
    timed("LINEAR, 8-bit converters, float32", score(chip.float()))
    counts = [layer.clips for layer in mapped_layers(chip).values()]
    clipped = sum(c.adc for c in counts) / max(1, sum(c.adc_of for c in counts))
    print(f"ADC conversions that saturated: {clipped:.2e}")


def _slices(bits: int | None) -> MappingPlan:
    spec = TileSpec(
        rows=64, cols=64, wires=Wires(r_row_segment=1.0, r_col_segment=1.0), cell=OneR()
    )
    return MappingPlan(spec=spec, weight_bits=8, device_bits=4, dac_bits=bits, adc_bits=bits)


def measure_layer() -> None:
    """A mapped layer against the plain products of the same tiles, best of five."""
    torch.manual_seed(0)
    layer, x = nn.Linear(512, 512), torch.rand(4096, 512)
    for dtype in (torch.float64, torch.float32):
        for bits in (None, 8):
            rng = np.random.default_rng(0)
            network = map_network(layer, _slices(bits), rng=rng, sample=x[:64])
            chip = network.on(fidelity=Fidelity.LINEAR).to(dtype)
            assert isinstance(chip, MappedLayer) and isinstance(chip.reader, MatrixReader)
            inputs = x.to(dtype)
            volts = [v.T.contiguous() for v in chip.row_voltages(inputs)]
            operators = [chip.reader.operator(k) for k in range(chip.reader.groups)]
            with torch.no_grad():
                plain = _best(lambda v=volts, g=operators: _products(v, g))
                whole = _best(lambda x=inputs, m=chip: m(x))
            kind = "converters off" if bits is None else "8-bit converters"
            print(
                f"512x512, 4096 inputs, {dtype}, {kind}: {1e3 * whole:.0f} ms, plain products "
                f"{1e3 * plain:.0f} ms, {plain / whole:.0%} of their rate"
            )


def _products(volts: list[Tensor], operators: list[Tensor]) -> list[Tensor]:
    return [g.T @ v for v, g in zip(volts, operators, strict=True)]


def _best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(6):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def measure_extraction(folder: str | None) -> None:
    """All tiles of AlexNet for 1000 classes: 62 M weights on pairs of two 4-bit devices."""
    torch.manual_seed(0)
    model, x = alexnet(classes=1000), torch.rand(1, 3, 227, 227)
    rng = np.random.default_rng(0)
    network = timed("map", lambda: map_network(model, _slices(None), rng=rng, sample=x))
    table = mapping_table(network)
    print(table)
    store = None if folder is None else OperatorStore(folder, dtype="float32")
    before = 0 if store is None else len(store)
    with Progress(transient=True) as progress:
        bar = progress.add_task("extracting", total=table.tiles)
        extraction = Extraction(store=store, on_done=lambda n: progress.advance(bar, n))
        timed(
            "extract LINEAR operators",
            lambda: network.on(fidelity=Fidelity.LINEAR, extraction=extraction),
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.1f} GiB, {torch.get_num_threads()} threads")
    if store is not None:
        size = store.path.stat().st_size / 2**30
        print(f"{store.path}: {before} operators before, {len(store)} after, {size:.2f} GiB")


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["lenet"]:
        # remeco, Table 2: 8-bit weights on two 4-bit devices; 2 ohm segments.
        spec = TileSpec(rows=64, cols=64, wires=Wires(r_row_segment=2.0, r_col_segment=2.0))
        plan = MappingPlan(spec=spec, weight_bits=8, device_bits=4)
        data = images("lenet-remeco-mnist")
        model = pretrained("lenet-remeco-mnist")
    elif arguments[:1] == ["layer"]:
        return measure_layer()
    elif arguments[:1] == ["extraction"]:
        return measure_extraction(arguments[1] if len(arguments) > 1 else None)
    elif arguments[:1] == ["resnet20"] and len(arguments) > 1:
        spec = TileSpec(rows=64, cols=64, wires=Wires(r_row_segment=1.0, r_col_segment=1.0))
        plan = MappingPlan(spec=spec, weight_bits=8)
        data = load("cifar10").normalised(IMAGENET_MEAN, IMAGENET_STD)
        model = load_checkpoint(resnet20(), arguments[1])
    else:
        raise InputError(f"{arguments} is none of lenet, layer, extraction, resnet20 FILE.")
    n = int(arguments[2]) if len(arguments) > 2 else len(data.test_x)
    measure(model, plan, data.train_x[:SAMPLE], data.test_x[:n], data.test_y[:n])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as problem:
        sys.exit(str(problem))
