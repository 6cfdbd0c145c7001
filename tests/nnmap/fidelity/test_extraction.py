"""Operators in batches, within a budget, kept on disk and continued after an interrupt."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from netlists import DefectRates, FaultRates, InputError, LognormalSpread, OneR, SinhRram, Wires
from netlists.identity import digest
from nnmap import Chip, Extraction, Fidelity, OperatorStore
from nnmap.fidelity import extraction
from tests.nnmap.making import columns_mixed, layer_of, mapped, only, placed

SINH = OneR(rram=SinhRram())
STUCK = Chip(rates=FaultRates.from_ocr(0.1, 1.0), seed=9)


def network_of(cell=None, *, segment=2.0):
    torch.manual_seed(0)
    layer, x = nn.Linear(70, 30).double(), torch.rand(8, 70).double()
    wires = Wires(r_row_segment=segment, r_col_segment=segment)
    return mapped(layer, x, rows=12, cols=10, wires=wires, cell=cell)


def operators(network, chip=STUCK, **options):
    """Operators of all row groups side by side."""
    reader = layer_of(network.on(chip, Fidelity.LINEAR, extraction=Extraction(**options))).reader
    return torch.cat([reader.operator(k).flatten() for k in range(reader.groups)])


def small_batches(monkeypatch, size=5):
    monkeypatch.setattr("nnmap.fidelity.extraction.MOST", size)


def test_batches_change_nothing_and_progress_counts_tiles(monkeypatch):
    network = network_of()
    whole = operators(network)
    small_batches(monkeypatch)
    heard = []
    assert torch.equal(operators(network, on_done=heard.append), whole)
    assert sum(heard) == only(network.programmes).placement.tiles == 36 and max(heard) == 5


def test_tiles_whose_cells_bend_are_reported_when_they_are_fitted():
    heard = []
    operators(network_of(SINH), on_done=heard.append)
    assert sum(heard) == 36 and max(heard) == 32  # FITTED at a time


def test_the_budget_sets_the_batch_and_refuses_what_does_not_fit():
    narrow, wide = Extraction(memory=0.01), Extraction(memory=0.05)
    assert 1 <= narrow.batch(64, 64) < wide.batch(64, 64)
    with pytest.raises(InputError, match=r"a 512x512 tile takes .* memory=0.01 GiB; raise it"):
        narrow.batch(512, 512)
    with pytest.raises(InputError, match=r"memory=0 GiB must be positive"):
        Extraction(memory=0)


@pytest.mark.parametrize("cell", [OneR(), SINH], ids=["ohmic", "sinh"])
def test_what_is_stored_is_not_extracted_again(tmp_path, monkeypatch, cell):
    network = network_of(cell)
    with OperatorStore(tmp_path / "operators") as store:
        first = operators(network, store=store)
        assert torch.equal(first, operators(network))
        assert len(store) == (36 if cell == OneR() else 72)  # and gains, where cells bend
    monkeypatch.setattr("nnmap.fidelity.extraction.effective_conductance", None)
    monkeypatch.setattr("nnmap.fidelity.extraction.column_gains", None)
    with OperatorStore(tmp_path / "operators") as store:
        assert torch.equal(operators(network_of(cell), store=store), first)


def test_an_interrupted_extraction_goes_on_from_what_is_stored(tmp_path, monkeypatch):
    small_batches(monkeypatch)
    network = network_of()
    whole = operators(network)

    class Killed(BaseException):
        pass

    def killed_after(batches):
        heard = []

        def hear(tiles):
            heard.append(tiles)
            if len(heard) == batches:
                raise Killed

        return hear

    with OperatorStore(tmp_path) as store, pytest.raises(Killed):
        operators(network, store=store, on_done=killed_after(3))
    extracted = []
    real = extraction.effective_conductance

    def counted(tiles):
        extracted.append(len(tiles))
        return real(tiles)

    monkeypatch.setattr(extraction, "effective_conductance", counted)
    with OperatorStore(tmp_path) as store:
        assert len(store) == 15
        assert torch.equal(operators(network, store=store), whole)
    assert sum(extracted) == 36 - 15


def test_every_part_of_a_tile_is_part_of_its_address(tmp_path):
    variants = [
        (network_of(), STUCK),
        (network_of(), replace(STUCK, seed=8)),
        (network_of(segment=3.0), STUCK),
        (network_of(), Chip(defects=DefectRates(open_row=0.1), seed=1)),
        (network_of(SINH), STUCK),
        (network_of(OneR(rram=SinhRram(v0=0.3))), STUCK),
        (network_of(), replace(STUCK, number=1)),
        (network_of(), Chip(variation=(LognormalSpread(sigma=0.1),))),
        (placed(network_of(), columns_mixed), STUCK),
    ]
    counts = (36, 72, 108, 144, 216, 288, 324, 360, 396)
    with OperatorStore(tmp_path) as store:
        for (network, chip), count in zip(variants, counts, strict=True):
            assert torch.equal(operators(network, chip, store=store), operators(network, chip))
            assert len(store) == count  # cells that bend have gains beside their operators
        for network, chip in variants:
            operators(network, chip, store=store)
        assert len(store) == counts[-1]
        # What a tile is decides its address, not the recipe that it comes from.
        healthy = Chip(rates=FaultRates())
        assert torch.equal(*(operators(network_of(), c, store=store) for c in (None, healthy)))
        assert len(store) == counts[-1] + len(set_of_tiles(network_of()))
    array = np.arange(6.0)
    assert digest(array) != digest(array.reshape(2, 3)) != digest(array.astype(np.float32))
    assert digest([1, [2]]) != digest([[1, 2]]) and digest({"a": 1, "b": 2}) == digest(
        {"b": 2, "a": 1}
    )


def set_of_tiles(network):
    return {g.tobytes() for g in only(network.programmes).target}


def test_single_precision_halves_the_file_and_rounds_for_everyone(tmp_path):
    network = network_of()
    with OperatorStore(tmp_path / "double") as double:
        exact = operators(network, store=double)
    for _ in range(2):
        with OperatorStore(tmp_path / "single", dtype="float32") as single:
            assert torch.equal(operators(network, store=single), exact.float().double())
    sizes = [(tmp_path / name / "operators.sqlite").stat().st_size for name in ("double", "single")]
    assert sizes[1] < 0.8 * sizes[0]  # pages and addresses take their share
    with OperatorStore(tmp_path / "single") as both:
        assert len(both) == 0 and torch.equal(operators(network, store=both), exact)


def test_stores_that_cannot_be_used_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        OperatorStore(tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "operators.sqlite").write_text("no database, but long enough to be read")
    with pytest.raises(InputError, match="is not an operator store"):
        OperatorStore(tmp_path / "other")
    with OperatorStore(tmp_path / "newer"):
        pass
    db = sqlite3.connect(tmp_path / "newer" / "operators.sqlite")
    db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(InputError, match="version 9"):
        OperatorStore(tmp_path / "newer")
    with pytest.raises(InputError, match="dtype='float16'"):
        OperatorStore(tmp_path, dtype="float16")
