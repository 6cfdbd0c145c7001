"""[network] of a study: of the catalogue, a perceptron, or one's own."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, ValidationInfo, field_validator

from validation.files.base import Section, Seed, beside_file, tag
from validation.files.own_code import checked_reference

if TYPE_CHECKING:  # torch takes seconds to import, and reading a file does without it
    from nnmap import Recipe


class CatalogueSection(Section):
    """A network of the catalogue by name, with the weights that ship or one's own.

    weights: folder into which `xbarverify train NAME -o` wrote them, from the file's folder; the
    package's where left out.
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

    @field_validator("weights")
    @classmethod
    def _beside_the_file(cls, path: str | None, info: ValidationInfo) -> str | None:
        return beside_file(path, info.context)


class PerceptronSection(Section):
    """A binary-weight perceptron that the study trains; `activations` lists several."""

    dataset: Literal["digits", "mnist", "fashion"]
    hidden: tuple[Annotated[int, Field(ge=1, le=65_536)], ...]
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    epochs: int = Field(default=10, ge=1, le=100_000)
    lr: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    seed: Seed = 0

    def recipe(self) -> "Recipe":
        """How it is trained."""
        from nnmap import Recipe

        return Recipe(epochs=self.epochs, lr=self.lr, seed=self.seed)


class OwnSection(Section):
    """A network and data of one's own.

    `make` and `data` run code of the file's folder with your rights: run a study of a stranger only
    if you would run their program.

    make, data: "package.module:function", importable from the file's folder. `make` takes
    `arguments` by name and gives a torch module; it may also name one of the toolkit's networks.
    `data` takes nothing and gives (train_x, train_y), (test_x, test_y), tensors or arrays: inputs
    [n, *input] and class numbers [n].
    checkpoint: weights that fill the module, .safetensors or what torch.save wrote, from the
    file's folder; the module's own where left out.
    """

    make: str
    data: str
    arguments: dict[str, Any] = {}
    checkpoint: str | None = None

    @field_validator("make", "data")
    @classmethod
    def _refers_to_a_function(cls, given: str, info: ValidationInfo) -> str:
        return checked_reference(given, toolkit=info.field_name == "make")

    @field_validator("checkpoint")
    @classmethod
    def _beside_the_file(cls, path: str | None, info: ValidationInfo) -> str | None:
        return beside_file(path, info.context)


FORMS = {"name": CatalogueSection, "dataset": PerceptronSection, "make": OwnSection}


def _one_form(section: Any) -> Any:
    if isinstance(section, dict) and sum(key in section for key in FORMS) != 1:
        raise ValueError(
            "[network] needs one of 'name' (of the catalogue), 'dataset' (a perceptron to train) "
            f"and 'make' (your own), and has {_shown([key for key in FORMS if key in section])}"
        )
    return section


def _shown(keys: list[str]) -> str:
    return " and ".join(map(repr, keys)) or "none of them"


def _form(section: Any) -> str | None:
    for key, kind in FORMS.items():
        if isinstance(section, kind) or (isinstance(section, dict) and key in section):
            return f"<{key}>"
    return None


NetworkSection = Annotated[
    Annotated[CatalogueSection, tag("name")]
    | Annotated[PerceptronSection, tag("dataset")]
    | Annotated[OwnSection, tag("make")],
    Discriminator(_form),
    BeforeValidator(_one_form),
]
