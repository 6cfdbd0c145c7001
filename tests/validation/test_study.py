"""Studies: the same chips in every condition, in Python and from TOML."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from netlists import InputError, OneR, SubcktCell, TileSpec, Wires
from netlists.faults import FaultRates
from nnmap import Chip, Dataset, Fidelity, MappingPlan
from nnmap.measures.measure import Accuracy
from nnmap.mitigations import BatchNormReestimation, RowAssignment
from validation.campaign.store import Store
from validation.condition import Condition
from validation.pilot import images_wanted
from validation.precision import Precision
from validation.runner import TaskRunner
from validation.sources import Given, identify
from validation.study import STORE, Study
from validation.study_of_file import chip_of, study_of


def small_source():
    rng = np.random.default_rng(1)
    torch.manual_seed(1)
    x = torch.from_numpy(rng.random((400, 12), dtype=np.float32))
    y = (x[:, :6].sum(1) > x[:, 6:].sum(1)).long()
    model = nn.Sequential(nn.Linear(12, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 2))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[:300]), y[:300]).backward()
        optimiser.step()
    data = Dataset(name="sums", train_x=x[:300], train_y=y[:300], test_x=x[300:], test_y=y[300:])
    return Given(model=model.eval(), dataset=data)


def small_study(**changes):
    source = small_source()
    identity = identify(source)
    wires = Wires(r_row_segment=2.0, r_col_segment=1.0)
    plan = MappingPlan(spec=TileSpec(rows=8, cols=10, wires=wires, cell=OneR()))
    base = Condition(
        network=identity,
        plan=plan,
        chip=Chip(rates=FaultRates.from_ocr(0.2, 3.0), seed=5),
        fidelity=Fidelity.IDEAL,
        measure=Accuracy(),
        images=60,
    )
    conditions = (
        replace(base, axes={"method": "none"}),
        replace(base, mitigations=(RowAssignment(),), axes={"method": "rows"}),
        replace(
            base, mitigations=(BatchNormReestimation(batch=50, images=200),), axes={"method": "bn"}
        ),
    )
    made = Study(name="small", conditions=conditions, sources={identity: source}, chips=6)
    return replace(made, **changes)


@pytest.mark.ngspice
def test_a_study_in_python_runs_resumes_and_compares(tmp_path):
    study = small_study()
    results = study.run(tmp_path)
    assert (results.summary.ran, results.summary.failed) == (18, 0)
    frame = results.table()
    assert set(frame["method"]) == {"none", "rows", "bn"} and len(frame) == 18
    # Chip k is the same in all conditions, and every chip is another.
    same = frame.group_by("number").agg(pl.col("faults_sha256").n_unique())
    assert set(same["faults_sha256"]) == {1} and frame["faults_sha256"].n_unique() == 6
    assert frame["stuck_hrs"].mean() > 2 * frame["stuck_lrs"].mean() > 0
    found = results.compare({"method": "rows"}, {"method": "none"}, pair="chip").to_dicts()[0]
    assert found["n"] == 6 and found["low"] <= found["difference"] <= found["high"]
    spent = frame.filter(frame["method"] == "bn")
    assert set(spent["batch_norm_reestimation.images"]) == {200}
    again = study.run(tmp_path)
    assert again.summary.ran == 0 and again.table().equals(frame)
    assert study.results(tmp_path).table().equals(frame)


@pytest.mark.ngspice
def test_processes_and_one_process_find_the_same(tmp_path):
    study = small_study()
    alone, spread = study.run(tmp_path / "a"), study.run(tmp_path / "b", workers=2)
    assert alone.table().equals(spread.table())


@pytest.mark.ngspice
def test_chips_draw_images_of_their_own_alike_in_every_condition(tmp_path):
    study = small_study()
    runner_images = {}
    from validation.runner import TaskRunner

    runner = TaskRunner(sources=study.sources)
    for number in (0, 1):
        drawn = [runner.deployed(c, number)[0].images for c in study.conditions[:2]]
        assert torch.equal(*drawn) and len(drawn[0]) == 60
        runner_images[number] = drawn[0]
    assert not torch.equal(runner_images[0], runner_images[1])


@pytest.mark.ngspice
def test_a_precision_ends_when_it_is_reached_and_says_images_itself(tmp_path):
    precise = Precision(half_width=0.06, min_chips=10, step=2, max_chips=60)
    study = small_study(precision=precise)
    study = replace(study, conditions=tuple(replace(c, images=0) for c in study.conditions[:2]))
    results = study.run(tmp_path)
    summary = results.summarise().to_dicts()
    for row in summary:
        assert row["interval"] == "Hall, sequential"
        assert row["n"] == 60 or max(row["high"] - row["mean"], row["mean"] - row["low"]) <= 0.06
    images = set(results.table()["images"])
    assert len(images) == 1 and 1 <= images.pop() <= 100
    assert study.run(tmp_path).summary.ran == 0


def test_impossible_studies_are_refused():
    study = small_study()
    with pytest.raises(InputError, match="has no conditions"):
        replace(study, conditions=())
    with pytest.raises(InputError, match="at least 2"):
        replace(study, chips=1)
    one = study.conditions[0]
    with pytest.raises(InputError, match="two conditions are the same: method = none"):
        replace(study, conditions=(one, replace(one, axes={"method": "again"})))
    with pytest.raises(InputError, match="has no source"):
        replace(study, sources={})


@pytest.mark.ngspice
def test_a_failing_condition_is_a_row_and_the_rest_goes_on(tmp_path):
    study = small_study()
    too_many = replace(study.conditions[0], images=101, axes={"method": "too many"})
    results = replace(study, conditions=(*study.conditions[:1], too_many)).run(tmp_path)
    assert results.summary.failed == 6 and results.summary.ran == 6
    frame = results.table()
    errors = frame.filter(frame["method"] == "too many")["error"]
    assert all("101 test images are asked for" in e for e in errors)
    row = results.summarise().filter(pl.col("method") == "too many").to_dicts()[0]
    assert row["failed"] == 6 and row["mean"] is None


@pytest.mark.ngspice
def test_everything_that_a_file_says_reaches_the_conditions(tiny):
    grid = tiny(
        {
            "faults": {
                "rates": [0.1],
                "stuck_at": 0.05,
                "pattern": "columns",
                "pattern_share": 0.5,
                "stuck_lrs": {"median": 4e-4, "sigma": 0.1},
            },
            "defects": {"open_row": 0.01},
            "variation": [{"kind": "lognormal_spread", "sigma": 0.2}],
            "noise": {"read": 0.02, "drift": {"time": 100.0, "nu": 0.01}},
            "mitigation": [{"kind": "row_assignment", "flip": False}],
            "mapping": {"encoding": "offset", "adc_bits": 6},
            "sweep": {"tile.r_row_segment": [1.0, 5.0]},
        }
    )
    study = study_of(grid)
    assert len(study.conditions) == 2 * 2 * 2  # wires, fidelities, variants
    one = study.conditions[-1]
    assert one.axes["tile.r_row_segment"] == 5.0 and one.axes["variant"] == "row_assignment"
    assert one.mitigations == (RowAssignment(flip=False),)
    assert one.plan.spec.rows == 32 and one.plan.adc_bits == 6 and one.plan.encoding == "offset"
    chip = one.chip
    assert chip.rates == replace(FaultRates.from_ocr(0.1, 3.0), stuck_at=0.05)
    assert (chip.pattern.along, chip.pattern.share) == ("col", 0.5)
    assert (chip.states.lrs.median, chip.states.hrs) == (4e-4, None)
    assert chip.defects.open_row == 0.01 and chip.variation[0].sigma == 0.2
    assert chip.drift.time == 100.0 and chip.read_noise == 0.02 and chip.seed == 0
    with Store(grid.common.folder() / STORE) as store:
        assert store.get(study.tasks()) == {}


MINE = """
import numpy as np
import torch
from torch import nn

def net(width):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))

def data():
    rng = np.random.default_rng(0)
    x, y = rng.random((90, 6)), rng.integers(0, 3, 90)
    return (x[:60], y[:60]), (x[60:], y[60:])
"""


@pytest.mark.ngspice
def test_a_network_and_data_of_one_s_own(tiny, tmp_path):
    (tmp_path / "mine_study.py").write_text(MINE)
    own = {"make": "mine_study:net", "arguments": {"width": 7}, "data": "mine_study:data"}
    grid = tiny({"measure": {"images": 10}}, network=own)
    study = study_of(grid)
    results = study.run(tmp_path / "out", workers=2)
    assert results.summary.failed == 0 and results.summary.ran == 8
    assert set(results.table()["images"]) == {10}


@pytest.mark.ngspice
def test_a_kit_that_is_edited_in_mid_campaign_ends_it(tmp_path):
    path = tmp_path / "cell.sp"
    text = ".subckt cell a b g=1e-5\nr1 a m {1/g}\nr2 m b 100\n.ends\n"
    path.write_text(text)
    cell = SubcktCell(
        path=path,
        name="cell",
        ports={"drive": "a", "sense": "b"},
        states={"lrs": 1e-4, "hrs": 1e-6},
    )
    study = small_study()
    [base, *_] = study.conditions
    plan = replace(base.plan, spec=replace(base.plan.spec, cell=cell))
    condition = replace(base, plan=plan, fidelity=Fidelity.LINEAR)
    study = replace(study, conditions=(condition,), chips=4)

    @contextmanager
    def progress(title, total):
        settled = []

        def done(more):
            settled.append(more)
            if title == "chips" and sum(settled) == 2:
                path.write_text(text.replace("100", "200"))

        yield done

    with pytest.raises(InputError, match=r"cell.sp has changed or gone"):
        study.run(tmp_path, progress=progress)
    with Store(tmp_path / "small" / STORE) as store:
        assert len(store.draws()) == 2
        assert all(draw.result.failure is None for draw in store.draws())
    path.write_text(text)
    assert study.run(tmp_path).summary.ran == 2


def test_every_chip_of_a_campaign_has_faults_of_its_own():
    study = small_study()
    [condition, *_] = study.conditions
    chips = [condition.chip_of(number) for number in range(3)]
    assert [chip.number for chip in chips] == [0, 1, 2]
    runner = TaskRunner(sources=dict(study.sources))
    setups = [runner.deployed(condition, number)[0] for number in range(3)]
    assert [setup.chip for setup in setups] == chips
    maps = set()
    for setup in setups:
        [name, *_] = setup.network.programmes
        maps.add(setup.chip.tile(name, setup.network.programmes[name], 0).faults.sha256)
    assert len(maps) == 3


def test_a_campaign_s_chips_have_the_ratio_that_its_file_asks_for(tiny):
    file = tiny({"faults": {"rates": [0.4], "ocr": 3.0}}).common
    rates = chip_of(file).rates
    assert (rates.stuck_lrs, rates.stuck_hrs) == pytest.approx((0.1, 0.3))


@pytest.mark.parametrize("name", ["", ".", "..", "../beside", "a/b", "a\\b"])
def test_a_study_is_named_like_a_folder_in_its_own(name):
    with pytest.raises(InputError, match="without / and"):
        small_study(name=name)


def test_a_precision_takes_at_least_the_chips_of_the_file(tiny):
    wanted = {"precision": {"half_width": 1.0, "max_chips": 60}}
    for chips, least in ((8, 30), (40, 40), (80, 60)):
        study = study_of(tiny({**wanted, "faults": {"chips": chips}}))
        assert study.precision.min_chips == least


def test_points_are_asked_of_shares_only(tiny):
    changes = {"precision": {"half_width": 1.0}, "measure": {"kind": "power"}}
    with pytest.raises(InputError, match=r"measure.kind = 'power' is none"):
        study_of(tiny(changes))


@pytest.mark.ngspice
def test_images_that_a_pilot_advised_are_those_of_its_conditions(tmp_path, monkeypatch):
    """A store that held the advice for other conditions asks a pilot again."""
    asked = []

    def pilot(conditions, *_, **__):
        asked.append(len(conditions))
        return []

    monkeypatch.setattr("validation.pilot.measure_pilot", pilot)
    study = small_study()
    runner, precision = TaskRunner(sources=dict(study.sources)), Precision(half_width=0.05)
    common = {"quantity": "accuracy", "progress": None}
    with Store(tmp_path / STORE) as store:
        for conditions in (study.conditions[:1], study.conditions[:1], study.conditions[1:]):
            assert images_wanted(conditions, precision, runner, store, None, **common) == 0
    assert asked == [1, 2]


def test_a_checkpoint_that_is_not_there_is_told_as_such(tiny, tmp_path):
    (tmp_path / "mine_study.py").write_text(MINE)
    own = {"make": "mine_study:net", "arguments": {"width": 7}, "data": "mine_study:data"}
    path = str(tmp_path / "gone.pt")
    with pytest.raises(InputError, match=r"there is no file .*gone\.pt"):
        study_of(tiny(network={**own, "checkpoint": path}))
