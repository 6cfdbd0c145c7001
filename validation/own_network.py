"""A network of one's own, run on its own data before anything is asked of it."""

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from netlists.errors import InputError
from nnmap import Dataset
from nnmap.measures.measure import BATCH
from nnmap.training.answers import classes_of, require_labels
from validation.sources import Own


def require_fit(own: Own) -> None:
    """Raise InputError where the user's network, data and labels do not fit one another.

    The network is run on one image, and on as many as `accuracy` takes at a time.
    """
    model, data = own.load(), own.data()
    try:
        _require_weights(model)
        classes = _classes(model, data)
        for part in ("train_y", "test_y"):
            try:
                require_labels(getattr(data, part), classes)
            except InputError as problem:
                raise InputError(f"{part}: {problem}") from None
    except InputError as problem:
        raise InputError(
            f"network.make = {own.make!r} and network.data = {own.data_from!r} do not fit: "
            f"{problem}"
        ) from None


def _require_weights(model: nn.Module) -> None:
    for name, held in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(held):
            raise InputError(
                f"{name} has no shape yet; run a lazy network once before it is returned."
            )
        if (held.is_floating_point() or held.is_complex()) and held.dtype != torch.float32:
            raise InputError(
                f"{name} is {held.dtype}, and images are torch.float32; return model.float()."
            )


def _classes(model: nn.Module, data: Dataset) -> int:
    """How many the network tells apart, on training images and on test images."""
    found = {
        classes_of(_answers(model, part[:count]), len(part[:count]))
        for part in (data.train_x, data.test_x)
        for count in (1, BATCH)
    }
    if len(found) > 1:
        raise InputError(f"the network gives now {min(found)} outputs, now {max(found)}.")
    return found.pop()


def _answers(model: nn.Module, images: Tensor) -> object:
    try:
        with torch.no_grad():
            answers: object = model(images)
    except InputError:
        raise
    except Exception as problem:  # whatever the user's forward raises
        said = " ".join(str(problem).split())
        raise InputError(
            f"the network does not run on images of shape {list(images.shape)} and {images.dtype} "
            f"({type(problem).__name__}: {said}); give data that it takes."
        ) from problem
    if isinstance(answers, Tensor) and answers.isnan().any():
        raise InputError(f"the network answers NaN to images of shape {list(images.shape)}.")
    return answers
