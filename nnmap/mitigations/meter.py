"""What a mitigation spent, counted where it is spent."""

from dataclasses import dataclass, fields


@dataclass(kw_only=True)
class Meter:
    """Counts of what was asked of a chip, its data and its host.

    reads: array reads, one per tile and input vector (per sign and bit).
    writes: memories programmed, the first programming of the network not counted.
    images, labels: inputs, and labels, that were shown, each counted once however often it is
        used.
    epochs: passes over training data.
    digital_operations: multiplications and additions on the host while tuning.
    """

    reads: int = 0
    writes: int = 0
    images: int = 0
    labels: int = 0
    epochs: int = 0
    digital_operations: int = 0

    def show(self, *, images: int = 0, labels: int = 0) -> None:
        """Note that the first so many inputs, and labels, were shown."""
        self.images = max(self.images, images, labels)
        self.labels = max(self.labels, labels)

    def counts(self) -> dict[str, int]:
        """All counts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def since(self, before: dict[str, int]) -> dict[str, int]:
        """What was added since `counts` gave `before`."""
        return {name: count - before[name] for name, count in self.counts().items()}
