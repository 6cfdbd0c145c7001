"""Batch-norm re-estimation: the free parameter tuning of the paper `fpt`."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.mitigations.base import ChipSpecific
from nnmap.mitigations.bench import Bench
from nnmap.mitigations.known import Known, Needs
from nnmap.network import MappedNetwork
from nnmap.watch import layer_input

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
PER_VALUE = 3  # operations: added to the sum, squared, added to the sum of squares
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


@dataclass(frozen=True, kw_only=True)
class BatchNormReestimation(ChipSpecific):
    """Means and variances of every batch norm, estimated again on what the chip makes of images.

    Labels and the fault map stay unknown; the weights stay as they are. Only the batch norms are
    in training mode: dropout stays off.

    average: "ema", the running average of fpt that starts from the trained statistics, or
        "cumulative", the mean over all batches.
    images: how many, 0 for all given.  batch: images per batch.  momentum: of the EMA.
    passes: times that the images are run.

    Source: fpt, Section III and Table III; 32 batches of 128 and momentum 0.1 are its setting.
    Raises InputError for a network without batch norms that keep statistics, and for fewer than two
    images in a batch or in all.
    """

    needs: ClassVar[Needs] = Needs.INPUTS
    source: ClassVar[str] = "fpt, Section III"
    overhead: ClassVar[tuple[str, ...]] = ("reads", "images", "digital_operations")

    average: Literal["ema", "cumulative"] = "ema"
    images: int = 4096
    batch: int = 128
    momentum: float = 0.1
    passes: int = 1

    def __post_init__(self) -> None:
        if self.average not in ("ema", "cumulative"):
            raise InputError(f"average={self.average!r} is not one of ema, cumulative.")
        if self.batch < 2 or self.images < 0 or self.passes < 1:
            raise InputError(
                f"batch={self.batch}, images={self.images}, passes={self.passes} must be at least "
                "2, 0 and 1: a batch of one image has no variance."
            )
        if not 0 < self.momentum <= 1:
            raise InputError(f"momentum={self.momentum!r} must lie in (0, 1].")

    def tune(self, network: MappedNetwork, known: Known, bench: Bench) -> MappedNetwork:
        """See `Mitigation.tune`."""
        images = known.inputs(self.images)
        if len(images) < 2:
            raise InputError(f"{self.name()}: {len(images)} images have no variance; give two.")

        def count(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            known.meter.digital_operations += PER_VALUE * layer_input(args, kwargs).numel()

        with bench.run(network) as run:
            norms = {
                n: m
                for n, m in run.digital(*NORMS).items()
                if _batch_norm(m).running_mean is not None
            }
            if not norms:
                raise InputError(f"{self.name()}: the network has no batch norms to re-estimate.")
            before = [self._open(norm) for norm in norms.values()]
            hooks = [
                norm.register_forward_pre_hook(count, with_kwargs=True) for norm in norms.values()
            ]
            for _ in range(self.passes):
                for part in images.split(self.batch):
                    if len(part) > 1:  # one image left over has no variance
                        run(part)
            for hook in hooks:
                hook.remove()
            for norm, momentum in zip(norms.values(), before, strict=True):
                _batch_norm(norm).momentum = momentum
            return run.network()

    def _open(self, norm: nn.Module) -> float | None:
        """Let a batch norm learn statistics; returns its own momentum."""
        found = _batch_norm(norm)
        before = found.momentum
        found.momentum = self.momentum if self.average == "ema" else None
        if self.average == "cumulative":
            found.reset_running_stats()
        found.train()
        return before


def _batch_norm(norm: nn.Module) -> BatchNorm:
    assert isinstance(norm, BatchNorm)
    return norm
