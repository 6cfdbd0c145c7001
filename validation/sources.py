"""Networks and data of a study: what names them in a result, and where they come from."""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from netlists.errors import InputError
from netlists.identity import digest
from nnmap import Dataset, Recipe, bnn_mlp, fit, load_checkpoint, save_checkpoint
from nnmap.networks.catalogue import NETWORKS
from nnmap.networks.pretrained import FOLDER, pretrained, weights_hash
from nnmap.training.data import load
from validation.files.network_section import CatalogueSection, OwnSection, PerceptronSection
from validation.files.own_data import own_data
from validation.modules import make_network
from validation.structure import structure


@dataclass(frozen=True, kw_only=True)
class NetworkIdentity:
    """A trained network and its data, by content: equal on any machine.

    name: in words.  structure: see `structure`.  weights: SHA-256 of the state.
    data: SHA-256 of the arrays in the form that the network takes.
    """

    name: str
    structure: str
    weights: str
    data: str


class Source(Protocol):
    """Where a network and its data come from; travels to worker processes."""

    def load(self) -> nn.Module:
        """The network in eval mode."""
        ...

    def data(self) -> Dataset:
        """Its data set, in the form it takes."""
        ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class OfCatalogue:
    """A network of the catalogue, shipped or trained before."""

    name: str
    folder: Path = FOLDER

    def load(self) -> nn.Module:
        """See `Source.load`."""
        return pretrained(self.name, self.folder)

    def data(self) -> Dataset:
        """See `Source.data`."""
        network = NETWORKS[self.name]
        return _data(network.dataset).prepared(network.inputs)


@dataclass(frozen=True, kw_only=True)
class Perceptron:
    """A binary-weight perceptron that a study trains once, kept in the study's folder."""

    dataset: str
    hidden: tuple[int, ...]
    activation: str
    recipe: Recipe
    folder: Path

    @property
    def sizes(self) -> tuple[int, ...]:
        """Features from input to classes."""
        data = self.data()
        return (data.train_x.shape[1], *self.hidden, int(data.train_y.max()) + 1)

    @property
    def path(self) -> Path:
        """Where its weights are kept: the name says what they were trained with."""
        made_from = digest(self.recipe, self.sizes, self.activation, self.data().fingerprint)
        return self.folder / f"network-{self.activation}-{made_from[:12]}.safetensors"

    def train(self, on_epoch: Callable[[int], None] = lambda more: None) -> None:
        """Train it unless its weights are there; on_epoch hears how many more epochs are done."""
        path = self.path
        if path.exists():
            on_epoch(self.recipe.epochs)
            return
        model = fit(
            lambda: bnn_mlp(self.sizes, self.activation),
            self.recipe,
            self.data(),
            on_epoch=lambda _: on_epoch(1),
        )
        partial = path.with_suffix(".partial")
        save_checkpoint(model, partial)
        partial.rename(path)

    def load(self) -> nn.Module:
        """See `Source.load`."""
        return load_checkpoint(bnn_mlp(self.sizes, self.activation), self.path)

    def data(self) -> Dataset:
        """See `Source.data`."""
        return _data(self.dataset)


@dataclass(frozen=True, kw_only=True)
class Own:
    """A user's own network and data; loading either runs the user's functions.

    make, data, checkpoint: see `OwnSection`.  arguments: of `make`, as JSON.
    beside: folder from which the functions are imported.
    """

    make: str
    arguments: str
    data_from: str
    checkpoint: str | None
    beside: Path

    def load(self) -> nn.Module:
        """See `Source.load`."""
        model = make_network(self.make, json.loads(self.arguments), beside=self.beside)
        if self.checkpoint is not None:
            model = load_checkpoint(model, self.checkpoint)
        return model.eval()

    def data(self) -> Dataset:
        """See `Source.data`."""
        return _own_data(self.data_from, self.beside)


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """One's own network and data, which must come out as they did when they were identified.

    Every process of a study loads them anew, so code that draws without a seed would put another
    network under the same name. `load` and `data` raise InputError for that.
    """

    source: Own
    identity: NetworkIdentity

    def load(self) -> nn.Module:
        """See `Source.load`."""
        model = self.source.load()
        if (structure(model), weights_hash(model)) != (
            self.identity.structure,
            self.identity.weights,
        ):
            raise InputError(
                f"network.make = {self.source.make!r} gives another network at each call; seed it "
                "(torch.manual_seed), or name a checkpoint."
            )
        return model

    def data(self) -> Dataset:
        """See `Source.data`."""
        data = self.source.data()
        if data.fingerprint != self.identity.data:
            raise InputError(
                f"network.data = {self.source.data_from!r} gives other data at each call; seed it."
            )
        return data


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """A network and data that are at hand, in Python."""

    model: nn.Module = field(repr=False)
    dataset: Dataset = field(repr=False)

    def load(self) -> nn.Module:
        """See `Source.load`."""
        return self.model.eval()

    def data(self) -> Dataset:
        """See `Source.data`."""
        return self.dataset


_data = functools.lru_cache(maxsize=1)(load)


@functools.lru_cache(maxsize=1)
def _own_data(reference: str, beside: Path) -> Dataset:
    found = own_data(reference, folder=beside)
    arrays = {
        name: torch.from_numpy(getattr(found, name))
        for name in ("train_x", "train_y", "test_x", "test_y")
    }
    return Dataset(name=reference, **arrays)


def source_of(section: Any, *, beside: Path, out: Path) -> Source:
    """The source that a [network] section describes.

    beside: folder of the study's file.  out: the study's own folder.
    """
    if isinstance(section, CatalogueSection):
        folder = FOLDER if section.weights is None else Path(section.weights)
        return OfCatalogue(name=section.name, folder=folder)
    if isinstance(section, PerceptronSection):
        return Perceptron(
            dataset=section.dataset,
            hidden=section.hidden,
            activation=section.activation,
            recipe=section.recipe(),
            folder=out.resolve(),
        )
    assert isinstance(section, OwnSection)
    return Own(
        make=section.make,
        arguments=json.dumps(section.arguments, sort_keys=True),
        data_from=section.data,
        checkpoint=section.checkpoint,
        beside=beside,
    )


def identify(source: Source) -> NetworkIdentity:
    """What names the network and its data in a result.

    Raises InputError for data without training or test images.
    """
    model, data = source.load(), source.data()
    for part in ("train_x", "test_x"):
        if not len(getattr(data, part)):
            what = "set converter ranges from" if part == "train_x" else "test on"
            raise InputError(f"the data set {data.name!r} holds no {part[:-2]} images to {what}.")
    return NetworkIdentity(
        name=_name(source),
        structure=structure(model),
        weights=weights_hash(model),
        data=data.fingerprint,
    )


def pinned(source: Source, identity: NetworkIdentity) -> Source:
    """The source, which refuses to give anything but what was identified."""
    return Pinned(source=source, identity=identity) if isinstance(source, Own) else source


def _name(source: Source) -> str:
    if isinstance(source, OfCatalogue):
        return source.name
    if isinstance(source, Perceptron):
        return f"{source.dataset} {'-'.join(map(str, source.sizes))} {source.activation}"
    return source.make if isinstance(source, Own) else "given"


def fewer(data: Dataset, count: int) -> Dataset:
    """The data set with its first training images alone, which sets memory free."""
    return replace(data, train_x=data.train_x[:count].clone(), train_y=data.train_y[:count].clone())
