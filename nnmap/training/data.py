"""Data sets with verified content: digits (bundled with scikit-learn), MNIST, Fashion-MNIST,
CIFAR-10.

Files are looked for in the folder that XBARVERIFY_DATA names, in torchvision's layout, else
downloaded with a hash check into the user's cache.
"""

import gzip
import hashlib
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pooch
import torch
from torch import Tensor

from netlists.errors import InputError

# Published MD5 of each original file, by torchvision's folder names.
IDX_FILES: dict[str, dict[str, tuple[str, str]]] = {
    "MNIST": {
        "train_x": ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        "train_y": ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        "test_x": ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        "test_y": ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    },
    "FashionMNIST": {
        "train_x": ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        "train_y": ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        "test_x": ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        "test_y": ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    },
}
CIFAR_FOLDER = "cifar-10-batches-py"
CIFAR_ARCHIVE = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "c58f30108f718f92721af3b95e74349a",
)
CIFAR_FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
# Channel means and deviations of ImageNet, which many CIFAR-10 networks use as they are.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MIRRORS = {
    "MNIST": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "FashionMNIST": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
FOLDERS = {"mnist": "MNIST", "fashion": "FashionMNIST"}
NAMES = ("digits", *FOLDERS, "cifar10")
IMAGE_SHAPES = {
    "digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "fashion": (1, 28, 28),
    "cifar10": (3, 32, 32),
}

Inputs = Literal["flat", "images", "normalised"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Flattened images in [0, 1], float32 [n, pixels], and labels, int64 [n].

    `as_images` gives them their shape, and `normalised` another mean and deviation.
    fingerprint: SHA-256 of the four arrays.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

    def as_images(self) -> "Dataset":
        """The same images as [n, channels, height, width]."""
        shape = IMAGE_SHAPES[self.name]
        return replace(
            self, train_x=self.train_x.view(-1, *shape), test_x=self.test_x.view(-1, *shape)
        )

    def normalised(self, mean: Sequence[float], std: Sequence[float]) -> "Dataset":
        """Images [n, channels, height, width], less `mean` and over `std`, one value a channel."""
        images = self.as_images()
        m, s = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
        return replace(images, train_x=(images.train_x - m) / s, test_x=(images.test_x - m) / s)

    def prepared(self, inputs: Inputs) -> "Dataset":
        """The form a network takes: flat, as images, or as images normalised as ImageNet's."""
        if inputs == "flat":
            return self
        images = self.as_images()
        return images if inputs == "images" else images.normalised(IMAGENET_MEAN, IMAGENET_STD)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all arrays."""
        digest = hashlib.sha256()
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            digest.update(array.numpy().tobytes())
        return digest.hexdigest()


def data_folder() -> Path | None:
    """The folder XBARVERIFY_DATA names, or None; raises InputError when it does not exist."""
    named = os.environ.get("XBARVERIFY_DATA")
    if not named:
        return None
    if not Path(named).is_dir():
        raise InputError(
            f"XBARVERIFY_DATA={named} is not a folder; create it in torchvision's layout, "
            "or unset the variable to download."
        )
    return Path(named)


def load(name: str) -> Dataset:
    """A data set by name.

    Raises InputError for an unknown name, a missing file under XBARVERIFY_DATA, a file whose hash
    is wrong, or a download that fails.
    """
    if name == "digits":
        return _digits()
    if name == "cifar10":
        return _cifar10()
    if name not in FOLDERS:
        raise InputError(f"dataset={name!r} is not one of {', '.join(NAMES)}.")
    folder = FOLDERS[name]
    arrays = {
        part: _read_idx(_locate(folder, file, md5))
        for part, (file, md5) in IDX_FILES[folder].items()
    }
    tensors = {
        part: torch.from_numpy(array.reshape(len(array), -1).astype(np.float32) / 255.0)
        if part.endswith("_x")
        else torch.from_numpy(array.astype(np.int64))
        for part, array in arrays.items()
    }
    return Dataset(name=name, **tensors)


def _digits() -> Dataset:
    """scikit-learn's 1797 8x8 digits, every fourth one held out for testing."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x_all = torch.from_numpy((x / 16.0).astype(np.float32))
    y_all = torch.from_numpy(y.astype(np.int64))
    test = torch.arange(len(y_all)) % 4 == 3
    return Dataset(
        name="digits",
        train_x=x_all[~test],
        train_y=y_all[~test],
        test_x=x_all[test],
        test_y=y_all[test],
    )


def _cifar10() -> Dataset:
    """CIFAR-10 from its Python batches; without the training batches, test images alone."""
    root = data_folder()
    folder = (root or Path(pooch.os_cache("xbarverify"))) / CIFAR_FOLDER
    if root is None and not folder.is_dir():
        _download_cifar10(folder.parent)
    test_x, test_y = _read_batch(_verified(folder / "test_batch", CIFAR_FILES["test_batch"]))
    training = [name for name in CIFAR_FILES if name != "test_batch"]
    if not any((folder / name).is_file() for name in training):
        train_x, train_y = test_x[:0], test_y[:0]
    else:
        parts = [_read_batch(_verified(folder / name, CIFAR_FILES[name])) for name in training]
        train_x, train_y = (torch.cat(arrays) for arrays in zip(*parts, strict=True))
    return Dataset(name="cifar10", train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y)


def _read_batch(path: Path) -> tuple[Tensor, Tensor]:
    # A pickle runs code when it is read; this one has the published hash.
    with path.open("rb") as stream:
        batch = pickle.load(stream, encoding="bytes")
    pixels = torch.from_numpy(batch[b"data"].astype(np.float32) / 255.0)
    return pixels, torch.tensor(batch[b"labels"], dtype=torch.int64)


def _download_cifar10(target: Path) -> None:
    try:
        pooch.retrieve(
            CIFAR_ARCHIVE[0],
            known_hash=f"md5:{CIFAR_ARCHIVE[1]}",
            path=target,
            processor=pooch.Untar(extract_dir=str(target)),
        )
    except Exception as problem:  # pooch passes on whatever its transport raises
        raise InputError(
            f"{CIFAR_ARCHIVE[0]} could not be downloaded ({type(problem).__name__}); "
            "set XBARVERIFY_DATA to a folder in torchvision's layout."
        ) from problem


def _verified(path: Path, md5: str) -> Path:
    if not path.is_file():
        raise InputError(
            f"{path} is missing; XBARVERIFY_DATA must hold torchvision's layout, "
            "or unset it to download."
        )
    found = hashlib.md5(path.read_bytes()).hexdigest()
    if found != md5:
        raise InputError(f"{path} has MD5 {found}, the original has {md5}; fetch it again.")
    return path


def _locate(folder: str, file: str, md5: str) -> Path:
    root = data_folder()
    if root is None:
        return _download(folder, file, md5)
    return _verified(root / folder / "raw" / file, md5)


def _download(folder: str, file: str, md5: str) -> Path:
    target = Path(pooch.os_cache("xbarverify")) / folder / "raw"
    try:
        fetched = pooch.retrieve(
            MIRRORS[folder] + file, known_hash=f"md5:{md5}", fname=file, path=target
        )
    except Exception as problem:  # pooch passes on whatever its transport raises
        raise InputError(
            f"{MIRRORS[folder]}{file} could not be downloaded ({type(problem).__name__}); "
            "set XBARVERIFY_DATA to a folder in torchvision's layout."
        ) from problem
    return Path(fetched)


def _read_idx(path: Path) -> np.ndarray:
    """The IDX format: two zero bytes, type (8 = unsigned byte), rank, sizes big-endian, data."""
    with gzip.open(path) as stream:
        raw = stream.read()
    rank = raw[3]
    shape = np.frombuffer(raw, ">i4", count=rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)
