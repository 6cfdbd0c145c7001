"""Operators in batches, within a budget, kept on disk and continued after an interrupt."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from netlists import (
    DefectRates,
    FaultRates,
    InputError,
    LognormalSpread,
    OneR,
    OneTransistorOneR,
    SinhRram,
    Tile,
    TileSpec,
    Wires,
)
from netlists.identity import digest
from nnmap import Chip, Extraction, Fidelity, OperatorStore
from nnmap.fidelity import extraction
from nnmap.fidelity.extraction import fitted_gains, nominal_operators
from nnmap.fidelity.linear_fit import InputCurve
from nnmap.fidelity.operator_store import _checksum
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


def test_the_inputs_of_a_fit_are_part_of_its_address(tmp_path):
    network = network_of(SINH)
    layer = layer_of(network.on(STUCK)).on_chip
    curve = InputCurve(SINH, 0.2)
    groups = len(layer.programme.placement.row_groups)
    operators_of = np.concatenate([o for _, o in nominal_operators(layer, Extraction())])

    def gains(seed, store):
        v = [np.random.default_rng(seed).uniform(0, 0.2, (4, 12)) for _ in range(groups)]
        found = fitted_gains(layer, lambda k: operators_of[k], curve, v, Extraction(store=store))
        return np.concatenate([gain for _, gain in found])

    with OperatorStore(tmp_path) as store:
        for seed in (0, 1, 0):
            assert np.array_equal(gains(seed, store), gains(seed, None))
        assert len(store) == 2 * 36 and not np.array_equal(gains(0, store), gains(1, store))


def test_damaged_values_are_made_again(tmp_path):
    network = network_of()
    whole = operators(network)
    with OperatorStore(tmp_path) as store:
        operators(network, store=store)
    nan = np.full((12, 10), np.nan)
    for change in (
        "UPDATE operator SET value = zeroblob(960) WHERE rowid = 3",
        "UPDATE operator SET value = x'00' WHERE rowid = 4",
        "UPDATE operator SET value = 'text' WHERE rowid = 5",
        "UPDATE operator SET checksum = x'00' WHERE rowid = 6",
        "UPDATE operator SET value = (SELECT value FROM operator WHERE rowid = 8), checksum ="
        " (SELECT checksum FROM operator WHERE rowid = 8) WHERE rowid = 7",
    ):
        db = sqlite3.connect(tmp_path / "operators.sqlite")
        with db:
            assert db.execute(change).rowcount == 1
        db.close()
        with OperatorStore(tmp_path) as store:
            assert torch.equal(operators(network, store=store), whole) and len(store) == 36
    with OperatorStore(tmp_path) as store:  # all of them are whole again
        found = store.complete(ids_in(tmp_path), (10, 12), lambda missing: nan[: len(missing)])
        assert np.isfinite(found).all()


def ids_in(folder):
    db = sqlite3.connect(folder / "operators.sqlite")
    found = [row[0][:32] for row in db.execute("SELECT id FROM operator")]
    db.close()
    return found


def test_what_is_no_number_is_neither_kept_nor_read(tmp_path):
    nan, right = np.full((1, 2), np.nan), np.array([[1.0, 2.0]])
    with OperatorStore(tmp_path) as store:
        for value in (nan, np.full((1, 2), -np.inf)):
            with pytest.raises(InputError, match="keeps no operator that is not finite"):
                store.complete([b"0" * 32], (2,), lambda _, value=value: value)
        assert len(store) == 0
        store.complete([b"0" * 32], (2,), lambda _: right)
        key = store._id(b"0" * 32)
        blob = nan.tobytes()
        with store._db:  # a checksum does not make a number of it
            row = (blob, _checksum(key, blob))
            store._db.execute("UPDATE operator SET value = ?, checksum = ?", row)
        assert np.array_equal(store.complete([b"0" * 32], (2,), lambda _: right), right)


def test_the_programs_that_made_a_value_are_part_of_its_address(tmp_path, monkeypatch):
    """ngspice's version where cells bend in a way that it measured; the program's always."""
    asked = []

    class Noted(OperatorStore):
        def complete(self, identities, shape, make):
            asked.append(identities)
            return np.zeros((len(identities), *shape))

    class Session:
        version = 46

    bare = OneR()
    cells = (bare, SINH, OneTransistorOneR())
    monkeypatch.setattr(extraction, "default_session", lambda: Session)
    with Noted(tmp_path) as store:

        def ids(cell):
            asked.clear()
            spec = TileSpec(
                rows=2, cols=3, wires=Wires(r_row_segment=1, r_col_segment=2), cell=cell
            )
            tile = Tile(spec=spec, g=np.full((2, 3), 1e-5))
            for what in ("operator", "gains"):
                Extraction(store=store).kept([tile], what, [None], (3, 2), None)
            return [one for (one,) in asked]

        before = [ids(cell) for cell in cells]
        assert len({one for found in before for one in found}) == 6
        Session.version = 39
        assert [ids(cell)[0] != old[0] for cell, old in zip(cells, before, strict=True)] == [
            False, False, True,
        ]  # fmt: skip
        assert [ids(cell)[1] != old[1] for cell, old in zip(cells, before, strict=True)] == [
            False, False, True,
        ]  # fmt: skip
        Session.version = 46
        assert [ids(cell) for cell in cells] == before
        monkeypatch.setattr(extraction.metadata, "version", lambda name: "0.0.0")
        assert all({*ids(cell)}.isdisjoint(old) for cell, old in zip(cells, before, strict=True))


@pytest.mark.parametrize("how", ["entry", "row", "nan", "negative row"])
def test_a_wrong_operator_is_refused_by_default(monkeypatch, how):
    real = extraction.effective_conductance

    def wrong(tiles):
        found = real(tiles)
        if how == "entry":
            found[:, 3, 4] *= 1.01
        elif how == "row":
            found[:, :, 5] *= 0.5
        elif how == "negative row":
            found[:, :, 5] *= -1
        else:
            found[7, 1, 2] = np.nan  # one of 36 tiles: every operator must be finite
        return found

    network = network_of()
    monkeypatch.setattr(extraction, "effective_conductance", wrong)
    with pytest.raises(InputError, match=r"tile \d+ of a batch of .* violates its circuit"):
        operators(network)


def test_all_tiles_are_checked_where_that_is_asked(monkeypatch, tmp_path):
    real = extraction.effective_conductance

    def wrong(tiles):
        found = real(tiles)
        found[17, 3] *= 1.001
        return found

    network = network_of()
    whole = operators(network, certified=1.0)
    assert torch.equal(whole, operators(network, certified=0.0))
    with monkeypatch.context() as patched, OperatorStore(tmp_path) as store:
        patched.setattr(extraction, "effective_conductance", wrong)
        with pytest.raises(InputError, match="tile 17 of a batch"):
            operators(network, certified=1.0)
        operators(network, certified=0.0, store=store)
    with OperatorStore(tmp_path) as store, pytest.raises(InputError, match=r"delete .*sqlite"):
        operators(network, certified=1.0, store=store)
    with OperatorStore(tmp_path / "single", dtype="float32") as store:
        operators(network, certified=1.0, store=store)
    with pytest.raises(InputError, match="certified=2"):
        Extraction(certified=2)


def test_the_sample_is_a_share_of_the_tiles_and_repeats(monkeypatch):
    checked = []
    real = extraction.residual_of

    def noted(linear, operator, *, rng):
        checked.append(operator.sum())
        return real(linear, operator, rng=rng)

    monkeypatch.setattr(extraction, "residual_of", noted)
    network, seen = network_of(), []
    for number in range(20):
        checked.clear()
        operators(network, replace(STUCK, number=number))
        first = list(checked)
        checked.clear()
        operators(network, replace(STUCK, number=number))
        assert checked == first and len(first) in (1, 2)  # 3 % of 36
        seen += first
    assert 20 <= len(seen) < 30


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
    (tmp_path / "foreign").mkdir()
    db = sqlite3.connect(tmp_path / "foreign" / "operators.sqlite")
    with db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(InputError, match="database of another program"):
        OperatorStore(tmp_path / "foreign")
    with pytest.raises(InputError, match="dtype='float16'"):
        OperatorStore(tmp_path, dtype="float16")
