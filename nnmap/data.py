"""Data sets with verified content: digits (bundled with scikit-learn), MNIST, Fashion-MNIST.

Files are looked for in the folder that XBARVERIFY_DATA names, in torchvision's layout, else
downloaded with a hash check into the user's cache.
"""

import gzip
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

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
MIRRORS = {
    "MNIST": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "FashionMNIST": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
FOLDERS = {"mnist": "MNIST", "fashion": "FashionMNIST"}
NAMES = ("digits", *FOLDERS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Flattened images in [0, 1], float32 [n, pixels], and labels, int64 [n].

    fingerprint: SHA-256 of the four arrays.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

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


def _locate(folder: str, file: str, md5: str) -> Path:
    root = data_folder()
    if root is None:
        return _download(folder, file, md5)
    path = root / folder / "raw" / file
    if not path.is_file():
        raise InputError(
            f"{path} is missing; XBARVERIFY_DATA must hold torchvision's layout, "
            "or unset it to download."
        )
    found = hashlib.md5(path.read_bytes()).hexdigest()
    if found != md5:
        raise InputError(f"{path} has MD5 {found}, the original has {md5}; fetch it again.")
    return path


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
