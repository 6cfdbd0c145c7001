"""Training through a chip, and what mitigations cost, timed.

    OMP_NUM_THREADS=1 python -m benchmarks.training

784-512-10 with 8-bit weights on 64x64 tiles of 1 ohm segments, 8-bit converters, 10 % stuck
memories, batch 128, float32, one thread; random images, on whose content no time depends. Seconds
are those of the CPU, which are the clock's where a thread has a core to itself; plain torch takes
turns with the others in one process.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from netlists import FaultRates, OneR, TileSpec, Wires
from nnmap import Chip, Fidelity, MappedNetwork, MappingPlan, map_network
from nnmap.mitigations import (
    BatchNormReestimation,
    Bench,
    Knowledge,
    RowAssignment,
    truth_of,
)
from nnmap.mitigations.known import known_by
from nnmap.networks.perceptrons import bnn_mlp, mlp

BATCH, IMAGES, EPOCH = 128, 1024, 60_000
CHIP = Chip(rates=FaultRates.from_ocr(0.1, 3.0))
SPEC = TileSpec(rows=64, cols=64, wires=Wires(r_row_segment=1.0, r_col_segment=1.0), cell=OneR())


def median(work: Callable[[], object], times: int) -> float:
    """Seconds of one call, the median; the first one is left out."""
    found = []
    for _ in range(times + 1):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return statistics.median(found[1:])


def mapped(model: nn.Module, x: Tensor) -> MappedNetwork:
    plan = MappingPlan(spec=SPEC, weight_bits=8)
    return map_network(model, plan, rng=np.random.default_rng(0), sample=x[:BATCH])


def steps(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """One step of Adam."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()

    return step


def measure_steps(x: Tensor, y: Tensor) -> None:
    network = mapped(mlp((784, 512, 10)), x)
    ways = {"plain torch": steps(mlp((784, 512, 10)), x[:BATCH], y[:BATCH])}
    for name, fidelity, every in (
        ("IDEAL", Fidelity.IDEAL, 1),
        ("LINEAR, every=10", Fidelity.LINEAR, 10),
        ("LINEAR, every=1", Fidelity.LINEAR, 1),
    ):
        model = network.trainable(CHIP, fidelity, every=every).float()
        ways[name] = steps(model, x[:BATCH], y[:BATCH])
    # Ten steps at a time, so that every=10 pays for its solutions.
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(4):
        for name, step in ways.items():
            count = 3 if name == "LINEAR, every=1" else 10
            start = time.process_time()
            for _ in range(count):
                step()
            if round_:
                taken[name].append((time.process_time() - start) / count)
    ideal = statistics.median(taken["IDEAL"])
    tiles = sum(programme.placement.tiles for programme in network.programmes.values())
    print(f"784-512-10 on {tiles} tiles, batch {BATCH}, {EPOCH} images per epoch")
    for name, found in taken.items():
        step_time = statistics.median(found)
        epoch = step_time * -(-EPOCH // BATCH)
        print(
            f"{name:<20} {1e3 * step_time:8.1f} ms per step {epoch:8.1f} s per epoch "
            f"{step_time / ideal:6.2f} x IDEAL"
        )


def measure_assignment() -> None:
    """Row permutation with flips of one tile."""
    torch.manual_seed(0)
    for encoding in ("pair", "offset"):
        for slices in ({"weight_bits": 8}, {"weight_bits": 8, "device_bits": 4}):
            plan = MappingPlan(spec=SPEC, encoding=encoding, dac_bits=None, adc_bits=None, **slices)
            layer, x = nn.Linear(64 * 8, 60), torch.rand(8, 64 * 8)
            network = map_network(layer, plan, rng=np.random.default_rng(0), sample=x)
            meter = Bench(CHIP, Fidelity.IDEAL).meter
            known = known_by("x", RowAssignment.needs, Knowledge(map=truth_of(CHIP)), meter)
            tiles = sum(one.placement.tiles for one in network.programmes.values())
            seconds = median(lambda n=network, k=known: RowAssignment().place(n, k), 7)
            shown = f"{encoding}, {len(plan.encoder().significances)} devices per weight"
            print(
                f"row assignment with flips, {shown:<30} {1e3 * seconds / tiles:6.2f} ms per tile"
            )


def measure_reestimation(x: Tensor) -> None:
    """Batch norms estimated again on 1,024 images, against one evaluation of as many."""
    network = mapped(bnn_mlp((784, 512, 10)).eval(), x)
    for fidelity in (Fidelity.IDEAL, Fidelity.LINEAR):
        bench = Bench(CHIP, fidelity)
        bench.write(network)
        method = BatchNormReestimation(images=IMAGES)
        known = known_by("x", method.needs, Knowledge(inputs=x), bench.meter)

        def evaluate(fidelity: Fidelity = fidelity) -> None:
            running = network.on(CHIP, fidelity).float()
            with torch.no_grad():
                for part in x.split(BATCH):
                    running(part)

        def reestimate(
            method: BatchNormReestimation = method, known=known, bench: Bench = bench
        ) -> None:
            method.tune(network, known, bench)

        once, again = median(evaluate, 5), median(reestimate, 5)
        print(
            f"{IMAGES} images at {fidelity.name}: one evaluation {once:.2f} s, re-estimation "
            f"{again:.2f} s, {again / once:.2f} x"
        )


def main() -> None:
    torch.manual_seed(0)
    if os.environ.get("OMP_NUM_THREADS") != "1":
        sys.exit("set OMP_NUM_THREADS=1: seconds of the CPU add up over threads.")
    torch.set_num_threads(1)
    x, y = torch.rand(IMAGES, 784), torch.randint(10, (IMAGES,))
    measure_steps(x, y)
    measure_assignment()
    measure_reestimation(x)


if __name__ == "__main__":
    main()
