"""What surrounds the tiles of a layer digitally: converters, bias, correction, window."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from netlists.identity import ByContent
from nnmap.mapping.converters import Adc, Dac
from nnmap.mapping.correction import Correction
from nnmap.mapping.window import Window


@dataclass(frozen=True, kw_only=True, eq=False)
class Periphery(ByContent):
    """Converters, bias and shape of a layer.

    bias: added digitally, [outputs], or None.  window: of a convolution; None for a linear layer.
    correction: see there; None where sums stay as decoded.
    """

    dac: Dac
    adc: Adc
    bias: Tensor | None = None
    window: Window | None = None
    correction: Correction | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Periphery":
        return self  # nothing in it changes
