"""An array to write, from its TOML file."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from circuitsim import WriteScheme
from netlists import Pulse
from validation.files.base import Name, Section, Seed
from validation.files.cell_section import CellSection


class PulseSection(Section):
    """A pulse: height in V, flat top and edge in s."""

    height: float
    width: float
    edge: float

    def build(self) -> Pulse:
        """The toolkit's pulse."""
        return Pulse(height=self.height, width=self.width, edge=self.edge)


class WriteSection(Section):
    """[write]: pulses, levels, tolerance in level steps, most correcting pulses."""

    set: PulseSection
    reset: PulseSection
    levels: int = Field(default=16, ge=2, le=65_536)
    tolerance: float = 0.25
    max_pulses: int = Field(default=300, ge=1, le=1_000_000)

    def scheme(self) -> WriteScheme:
        """The toolkit's scheme."""
        return WriteScheme(
            set_pulse=self.set.build(),
            reset_pulse=self.reset.build(),
            levels=self.levels,
            tolerance=self.tolerance,
            max_pulses=self.max_pulses,
        )


class SpreadSection(Section):
    """[spread]: deviations of thresholds and modulations, relative to nominal."""

    threshold: float = 0.02
    modulations: tuple[float, ...] = Field(default=(0.1, 0.2), min_length=1)


class ArraySection(Section):
    """[array]: devices written to random levels, and how many of them ngspice checks (0: none)."""

    devices: int = Field(default=4096, ge=2, le=10_000_000)
    seed: Seed = 0
    check: int = Field(default=64, ge=0, le=100_000)


class WrittenNetworkSection(Section):
    """[network]: a network on chips written like the array, at IDEAL; 0 images are all of them."""

    name: Literal["lenet-mnist"]
    chips: int = Field(default=5, ge=2, le=100_000)
    test_images: int = Field(default=0, ge=0)
    weight_bits: int = 8
    encoding: Literal["pair", "offset"] = "offset"
    rows: int = Field(default=64, ge=1, le=1024)
    cols: int = Field(default=64, ge=1, le=1024)


class OutputSection(Section):
    """[run]: where results go."""

    out: str = "out"


class WriteFile(Section):
    """An array to write: `xbarverify program`. The cell's v_gate is the gate's while writing."""

    name: Name
    cell: CellSection
    write: WriteSection
    spread: SpreadSection = SpreadSection()
    array: ArraySection = ArraySection()
    network: WrittenNetworkSection | None = None
    run: OutputSection = OutputSection()

    def folder(self) -> Path:
        """Where the figure and the tables are written."""
        return Path(self.run.out) / self.name
