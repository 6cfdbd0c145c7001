"""[network] of an evaluation: a perceptron of one's own, or a network of the catalogue."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, field_validator

from validation.files.base import Section, tag

if TYPE_CHECKING:  # torch takes seconds to import, and single tiles do without it
    from nnmap import Recipe
    from nnmap.networks.catalogue import Reference
    from nnmap.training.data import Inputs


class PerceptronSection(Section):
    """[network]: data set, binary-weight perceptron, training."""

    dataset: Literal["digits", "mnist", "fashion"]
    hidden: tuple[Annotated[int, Field(ge=1)], ...]
    activations: tuple[Literal["relu", "tanh", "sigmoid"], ...] = ("relu",)
    epochs: int = Field(default=10, ge=1)
    lr: float = Field(default=0.01, gt=0)
    seed: int = 0

    @property
    def labels(self) -> tuple[str, ...]:
        """What tells the networks of the evaluation apart: their activations."""
        return self.activations

    @property
    def inputs(self) -> "Inputs":
        """The form in which images enter."""
        return "flat"

    @property
    def recipe(self) -> "Recipe":
        """How the networks are trained."""
        from nnmap import Recipe

        return Recipe(epochs=self.epochs, lr=self.lr, seed=self.seed)

    def described(self) -> str:
        """The network in words."""
        return f"binary-weight perceptron with hidden layers {', '.join(map(str, self.hidden))}"


class CatalogueSection(Section):
    """[network]: a network of the catalogue by name, with the weights that ship or one's own.

    weights: folder into which `xbarverify train NAME -o` wrote them; the package's where left out.
    """

    name: str
    weights: str | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        from nnmap.networks.catalogue import NETWORKS

        if name not in NETWORKS:
            raise ValueError(f"no network of this name; there are {', '.join(NETWORKS)}")
        return name

    @property
    def _reference(self) -> "Reference":
        from nnmap.networks.catalogue import NETWORKS

        return NETWORKS[self.name]

    @property
    def labels(self) -> tuple[str, ...]:
        """The one network's name."""
        return (self.name,)

    @property
    def dataset(self) -> str:
        """The data set it was trained on."""
        return self._reference.dataset

    @property
    def inputs(self) -> "Inputs":
        """The form in which images enter."""
        return self._reference.inputs

    def described(self) -> str:
        """The network in words."""
        return self.name


def _kind(section: Any) -> str:
    named = isinstance(section, dict) and "name" in section
    return "<catalogue>" if named or isinstance(section, CatalogueSection) else "<perceptron>"


NetworkSection = Annotated[
    Annotated[CatalogueSection, tag("catalogue")] | Annotated[PerceptronSection, tag("perceptron")],
    Discriminator(_kind),
]
