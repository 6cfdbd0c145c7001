import gzip

import pytest
import torch

from netlists import InputError
from nnmap import Recipe, accuracy, bnn_mlp, fit
from nnmap.training.data import NAMES, load


def test_digits_are_split_without_overlap_and_scaled():
    data = load("digits")
    assert len(data.train_x) + len(data.test_x) == 1797
    assert data.train_x.shape[1] == 64
    assert data.train_x.min() == 0.0 and data.train_x.max() == 1.0
    assert set(data.test_y.tolist()) == set(range(10))
    assert data.fingerprint == load("digits").fingerprint


def test_unknown_sets_and_broken_folders_are_told(monkeypatch, tmp_path):
    with pytest.raises(InputError, match=NAMES[0]):
        load("imagenet")
    monkeypatch.setenv("XBARVERIFY_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="is not a folder"):
        load("mnist")
    monkeypatch.setenv("XBARVERIFY_DATA", str(tmp_path))
    with pytest.raises(InputError, match="is missing"):
        load("mnist")
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\0"))
    with pytest.raises(InputError, match="MD5"):
        load("mnist")


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_the_genuine_sets_load(name):
    data = load(name)
    assert data.train_x.shape == (60000, 784) and data.test_x.shape == (10000, 784)
    assert torch.bincount(data.test_y).tolist()[0] in (980, 1000)
    assert 0.2 < data.train_x.mean() < 0.4 or name == "mnist"


def test_training_is_repeatable_and_learns():
    data = load("digits")
    recipe = Recipe(epochs=5)
    torch.manual_seed(1)
    one = fit(lambda: bnn_mlp((64, 32, 10)), recipe, data)
    torch.manual_seed(2)
    two = fit(lambda: bnn_mlp((64, 32, 10)), recipe, data)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert accuracy(one, data.test_x, data.test_y) > 0.9
    assert set(one[0].weight.unique().tolist()) == {-1.0, 1.0}


@pytest.mark.data
def test_cifar10_loads_as_images_and_is_normalised():
    data = load("cifar10")
    assert data.test_x.shape == (10000, 3072) and set(data.test_y.tolist()) == set(range(10))
    assert len(data.train_x) in (0, 50000)
    assert data.as_images().test_x.shape == (10000, 3, 32, 32)
    shifted = data.normalised((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert torch.allclose(shifted.test_x, (data.as_images().test_x - 0.5) * 4)


def test_a_changed_cifar10_file_is_not_unpickled(monkeypatch, tmp_path):
    monkeypatch.setenv("XBARVERIFY_DATA", str(tmp_path))
    with pytest.raises(InputError, match="is missing"):
        load("cifar10")
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(b"not the original")
    with pytest.raises(InputError, match="MD5"):
        load("cifar10")
