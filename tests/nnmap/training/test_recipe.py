"""Training: seeded, images changed at random, on the device asked for."""

from dataclasses import replace

import pytest
import torch

from netlists import InputError
from nnmap import Recipe, accuracy, convnet_quick, fit, mlp
from nnmap.training.augment import crop_and_flip
from nnmap.training.data import Dataset, load
from nnmap.training.recipe import batches_an_epoch


def few_images(n=40):
    torch.manual_seed(0)
    x, y = torch.rand(n, 3072), torch.randint(10, (n,))
    return Dataset(name="cifar10", train_x=x, train_y=y, test_x=x, test_y=y)


def test_images_are_shifted_and_mirrored_and_nothing_else():
    torch.manual_seed(0)
    images = 1 + torch.rand(64, 3, 8, 10)
    changed = crop_and_flip(images, pad=2)
    assert changed.shape == images.shape and not torch.equal(changed, images)
    windows = torch.nn.functional.pad(images, (2, 2, 2, 2))
    found = set()
    for k in range(64):
        for top in range(5):
            for left in range(5):
                window = windows[k, :, top : top + 8, left : left + 10]
                for mirrored in (False, True):
                    if torch.equal(changed[k], window.flip(2) if mirrored else window):
                        found.add((k, top, left, mirrored))
    assert {k for k, *_ in found} == set(range(64))
    assert len({place[1:] for place in found}) > 20


def test_no_shift_leaves_images_or_their_mirror_images():
    torch.manual_seed(0)
    images = torch.rand(32, 1, 4, 4)
    changed = crop_and_flip(images, pad=0)
    same = (changed == images).flatten(1).all(1)
    mirrored = (changed == images.flip(3)).flatten(1).all(1)
    assert (same | mirrored).all() and same.any() and mirrored.any()


@pytest.mark.parametrize("augment", [False, True])
def test_the_seed_decides_every_weight(augment):
    data = few_images().prepared("normalised")
    recipe = Recipe(epochs=2, batch=16, lr=0.001, augment=augment)

    def weights(seed, noise):
        torch.manual_seed(noise)
        model = fit(lambda: convnet_quick(width=1 / 8), replace(recipe, seed=seed), data)
        assert not model.training and model[0].weight.is_contiguous()
        return torch.cat([p.flatten() for p in model.parameters()])

    one = weights(0, noise=1)
    assert torch.equal(one, weights(0, noise=2))
    assert not torch.equal(one, weights(1, noise=1))


def test_progress_counts_every_batch():
    data, recipe = few_images(), Recipe(epochs=3, batch=16)
    epochs, batches = [], []
    fit(lambda: mlp((3072, 10)), recipe, data, on_epoch=epochs.append, on_batch=batches.append)
    assert epochs == [1, 2, 3]
    assert sum(batches) == 3 * batches_an_epoch(recipe, data) == 9


def test_devices_and_data_that_are_not_there_are_told():
    data = load("digits")
    with pytest.raises(InputError, match="device='abacus'"):
        fit(lambda: mlp((64, 10)), Recipe(epochs=1), data, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device='cuda' cannot be used"):
            fit(lambda: mlp((64, 10)), Recipe(epochs=1), data, device="cuda")
    empty = replace(data, train_x=data.train_x[:0], train_y=data.train_y[:0])
    with pytest.raises(InputError, match="no training images"):
        fit(lambda: mlp((64, 10)), Recipe(epochs=1), empty)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_a_gpu_trains_and_gives_the_network_back():
    data = load("digits")
    model = fit(lambda: mlp((64, 32, 10)), Recipe(epochs=5), data, device="cuda")
    assert model[0].weight.device.type == "cpu"


class Fixed(torch.nn.Module):
    """Gives the same answers whatever it is asked."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def forward(self, x):
        return self.answers


def test_accuracy_counts_infinite_logits_as_any_other():
    answers = torch.tensor([[0.0, torch.inf, 1.0], [-torch.inf, -1.0, -2.0]])
    assert accuracy(Fixed(answers), torch.zeros(2, 5), torch.tensor([1, 0])) == 0.5


@pytest.mark.parametrize(
    "answers, labels, words",
    [
        (torch.zeros(4, 3), [0, 1, 2, 3], "the class 3, and a network of 3 outputs"),
        (torch.zeros(4, 3), [0, -1, 2, 1], "the class -1"),
        (torch.zeros(4, 3), [0.0, 1.0, 2.0, 1.0], "float32 are not class numbers"),
        (torch.zeros(4, 3), [[0], [1], [2], [1]], r"shape \[4, 1\]"),
        (torch.zeros(4, 1), [0, 0, 0, 0], "1 output per image"),
        (torch.zeros(4, 3, 2), [0, 0, 0, 0], r"shape \[4, 3, 2\]"),
        ((torch.zeros(4, 3), 1), [0, 0, 0, 0], "gives a tuple"),
        (torch.tensor([[0.0, torch.nan]] * 3 + [[0.0, 1.0]]), [0, 0, 0, 0], "NaN on 3 of 4 images"),
        (torch.zeros(4, 3), [0, 1], "4 images and 2 labels"),
    ],
)
def test_what_has_no_accuracy_is_refused(answers, labels, words):
    with pytest.raises(InputError, match=words):
        accuracy(Fixed(answers), torch.zeros(4, 5), torch.tensor(labels))
