"""What a layer keeps of its reads: clipped conversions, and the noise that they have."""

from dataclasses import dataclass

from netlists.errors import InputError


@dataclass(kw_only=True)
class ClipCount:
    """Conversions that saturated since the layer was made, and how many there were.

    Without a converter there are none.
    """

    dac: int = 0
    dac_of: int = 0
    adc: int = 0
    adc_of: int = 0


@dataclass(frozen=True, kw_only=True)
class ReadNoise:
    """Cycle-to-cycle noise of deviation sigma, relative to each memory's conductance.

    A column current is a sum over independent memories, so its noise is drawn at once, with the
    deviation sigma sqrt(sum (g v)^2). Exact for ohmic memories on perfect wires; with wires `g` is
    the effective conductance, and the two memories of a 1T2R cell count as one.
    """

    sigma: float
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < float("inf"):
            raise InputError(f"ReadNoise: sigma={self.sigma!r} must be finite and at least 0.")
