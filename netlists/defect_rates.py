"""How often what is not a memory breaks."""

from dataclasses import dataclass, fields

from netlists.errors import InputError

R_SHORT = 100.0  # ohm; what a shorted transistor is left with by default, a round number


@dataclass(frozen=True, kw_only=True)
class DefectRates:
    """Probability of a defect at each site where it can be; raises InputError beyond [0, 1].

    transistor_open, transistor_shorted: of a transistor.  open_row, open_col, open_gate: of a
    segment.  bridge_row, bridge_col, bridge_gate, bridge_cell: of a pair of lines at a cell.
    r_bridge: resistance of every bridge drawn, ohm.  r_short: of every shorted transistor, ohm.
    """

    transistor_open: float = 0.0
    transistor_shorted: float = 0.0
    open_row: float = 0.0
    open_col: float = 0.0
    open_gate: float = 0.0
    bridge_row: float = 0.0
    bridge_col: float = 0.0
    bridge_gate: float = 0.0
    bridge_cell: float = 0.0
    r_bridge: float = 100.0
    r_short: float = R_SHORT

    def __post_init__(self) -> None:
        for name, rate in self._rates().items():
            if not 0 <= rate <= 1:
                raise InputError(
                    f"DefectRates: {name}={rate!r} must lie in [0, 1]; rates are fractions, "
                    "5 % is 0.05."
                )
        for name in ("r_bridge", "r_short"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(
                    f"DefectRates: {name}={getattr(self, name)!r} ohm must be finite and at "
                    "least 0."
                )
        if self.transistor_open + self.transistor_shorted > 1:
            raise InputError(
                f"DefectRates: transistor_open={self.transistor_open!r} + transistor_shorted="
                f"{self.transistor_shorted!r} exceeds 1; a transistor has one state."
            )

    def _rates(self) -> dict[str, float]:
        every = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in every.items() if not name.startswith("r_")}

    @property
    def of_transistors(self) -> bool:
        """Whether a transistor can be hit."""
        return bool(self.transistor_open or self.transistor_shorted)

    @property
    def of_gate_lines(self) -> bool:
        """Whether a gate line can be hit."""
        return bool(self.open_gate or self.bridge_gate)

    @property
    def any(self) -> bool:
        """Whether a map drawn at these rates can hold a defect at all."""
        return any(self._rates().values())
