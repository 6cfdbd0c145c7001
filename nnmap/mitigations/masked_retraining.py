"""Retraining on a chip whose stuck memories are known and kept."""

from dataclasses import dataclass
from typing import ClassVar

from nnmap.mitigations.retraining import Retraining


@dataclass(frozen=True, kw_only=True)
class MaskedRetraining(Retraining):
    """The network retrained for one chip, on the ideal matrix with its stuck memories in it.

    The forward pass holds stuck memories at their states; gradients, weight decay and momentum
    move only healthy ones. Batch norms learn along, in training mode.

    epochs, batch, lr: of Adam, its step annealed by cosine.
    images: training images with labels, 0 for all given.  seed: of the order of images.

    Source: bnn-1t2r, Section III (gradient mask); rramedy, Section IV, masks bits in this way.
    Raises InputError for values out of range.
    """

    source: ClassVar[str] = "bnn-1t2r, Section III"
    overhead: ClassVar[tuple[str, ...]] = (
        "writes",
        "images",
        "labels",
        "epochs",
        "digital_operations",
    )
