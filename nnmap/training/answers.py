"""What a classifier answers and what it should have: checked before either is counted."""

from torch import Tensor

from netlists.errors import InputError


def classes_of(answers: object, images: int) -> int:
    """How many classes the answers of a network to so many images tell apart.

    Raises InputError for anything but a tensor [images, classes] with two classes or more.
    """
    if not isinstance(answers, Tensor):
        raise InputError(
            f"the network gives a {type(answers).__name__}, and must give one tensor [images, "
            "classes]; let its forward return the logits alone."
        )
    if answers.ndim != 2 or len(answers) != images:
        raise InputError(
            f"the network gives outputs of shape {list(answers.shape)} for {images} images, and "
            "must give [images, classes]."
        )
    if answers.shape[1] < 2:
        raise InputError(
            f"the network gives {answers.shape[1]} output per image, whose largest says nothing; "
            "give it one output per class, two at least."
        )
    return answers.shape[1]


def require_labels(labels: Tensor, classes: int) -> None:
    """Raise InputError for labels that are not whole numbers from 0 to `classes` - 1, [images]."""
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise InputError(
            f"labels of shape {list(labels.shape)} and {labels.dtype} are not class numbers, "
            "integers [images]."
        )
    if not len(labels):
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise InputError(
            f"the labels hold the class {low if low < 0 else high}, and a network of {classes} "
            f"outputs knows the classes 0 to {classes - 1}; renumber the labels or give it more "
            "outputs."
        )
