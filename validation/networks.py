"""The trained networks of an evaluation: where their weights lie, and what they fill."""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from nnmap import bnn_mlp, fit, load_checkpoint, save_checkpoint
from nnmap import data as datasets
from nnmap.networks.pretrained import FOLDER, pretrained, weights_hash
from validation.config import EvaluationFile
from validation.network_section import CatalogueSection, PerceptronSection
from validation.store import canonical


@dataclass(frozen=True, kw_only=True)
class PerceptronFile:
    """A binary-weight perceptron that an evaluation trained."""

    path: Path
    sizes: tuple[int, ...]
    activation: str

    def load(self) -> nn.Module:
        """The network in eval mode."""
        return load_checkpoint(bnn_mlp(self.sizes, self.activation), self.path)


@dataclass(frozen=True, kw_only=True)
class CatalogueFile:
    """A network of the catalogue, shipped or trained before."""

    name: str
    folder: Path

    def load(self) -> nn.Module:
        """The network in eval mode."""
        return pretrained(self.name, self.folder)


NetworkFile = PerceptronFile | CatalogueFile
_load_once = functools.lru_cache(maxsize=1)(datasets.load)


def trained_network(
    config: EvaluationFile, label: str, *, on_epoch: Callable[[int], None]
) -> tuple[NetworkFile, str]:
    """Find the network of this label, or train it: (its file, SHA-256 of its weights).

    `on_epoch` hears how many more of `epochs` are done.
    """
    section = config.network
    found: NetworkFile
    if isinstance(section, CatalogueSection):
        folder = FOLDER if section.weights is None else Path(section.weights).resolve()
        found = CatalogueFile(name=section.name, folder=folder)
        on_epoch(1)
    else:
        found = _perceptron(config.folder(), section, label, on_epoch=on_epoch)
    return found, weights_hash(found.load())


def epochs(section: PerceptronSection | CatalogueSection) -> int:
    """How many epochs `trained_network` reports a label."""
    return section.epochs if isinstance(section, PerceptronSection) else 1


def _perceptron(
    out: Path, section: PerceptronSection, activation: str, *, on_epoch: Callable[[int], None]
) -> PerceptronFile:
    data = _load_once(section.dataset)
    sizes = (data.train_x.shape[1], *section.hidden, int(data.train_y.max()) + 1)
    recipe = section.recipe
    made_from = canonical(
        [repr(recipe), list(sizes), activation, data.fingerprint, torch.__version__]
    )
    name = hashlib.sha256(made_from.encode()).hexdigest()[:12]
    path = out.resolve() / f"network-{activation}-{name}.safetensors"
    if path.exists():
        on_epoch(recipe.epochs)
    else:
        model = fit(
            lambda: bnn_mlp(sizes, activation), recipe, data, on_epoch=lambda _: on_epoch(1)
        )
        partial = path.with_suffix(".partial")
        save_checkpoint(model, partial)
        partial.rename(path)
    return PerceptronFile(path=path, sizes=sizes, activation=activation)
