"""Converter ranges from sample inputs."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from netlists.tile import TileSpec
from nnmap.layers import MappedLayer

SAMPLE_BATCH = 64  # inputs run at a time


def watch(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    see: Callable[[str, nn.Module, Tensor], object],
) -> Callable[[Tensor], None]:
    """A function that runs inputs through the model and shows `see` what reaches each layer."""

    def watcher(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
            see(name, layer, args[0])

        return hook

    def run(sample: Tensor) -> None:
        hooks = [layer.register_forward_pre_hook(watcher(name)) for name, layer in layers.items()]
        try:
            with torch.no_grad():
                for part in sample.split(SAMPLE_BATCH):
                    model(part)
        finally:
            for hook in hooks:
                hook.remove()

    return run


def largest_inputs(
    model: nn.Module, layers: Mapping[str, nn.Module], sample: Tensor
) -> dict[str, float]:
    """Largest input magnitude that each of these layers sees on the sample, by name."""
    largest = dict.fromkeys(layers, 0.0)

    def see(name: str, _: nn.Module, x: Tensor) -> None:
        largest[name] = max(largest[name], float(x.abs().max()))

    watch(model, layers, see)(sample)
    return largest


def peak_currents(model: nn.Module, sample: Tensor) -> dict[str, Tensor]:
    """Largest current of each read column of each mapped layer, A [reads, columns], by name."""
    layers = {n: m for n, m in model.named_modules() if isinstance(m, MappedLayer)}
    peaks: dict[str, Tensor] = {}

    def see(name: str, layer: nn.Module, x: Tensor) -> None:
        assert isinstance(layer, MappedLayer)
        seen = layer.peak_currents(x)
        peaks[name] = torch.maximum(peaks[name], seen) if name in peaks else seen

    watch(model, layers, see)(sample)
    return peaks


def full_scale(spec: TileSpec) -> float:
    """Current of a column whose memories are all LRS, all rows at the read voltage, A."""
    return spec.rows * spec.cell.n_rram * spec.cell.rram.g_lrs * spec.v_read
