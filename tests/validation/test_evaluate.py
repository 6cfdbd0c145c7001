import re
from dataclasses import asdict

import pytest
from validation.experiment import run_task, tasks
from validation.networks import trained_network

from netlists import InputError
from nnmap.networks.pretrained import images, manifest, train_network
from validation import EvaluationFile, Store
from validation.campaign import Task, run_campaign
from validation.evaluate import evaluate, rewrite_report


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


@pytest.mark.ngspice
def test_a_run_reports_and_a_rerun_changes_no_byte(tiny):
    found = evaluate(tiny)
    assert found.ran == 8 and len(found.rows) == 4
    clean = {r.fidelity: r.accuracy.mean for r in found.rows if r.rate == 0.0}
    hurt = {r.fidelity: r.accuracy.mean for r in found.rows if r.rate == 0.2}
    assert clean["ideal"] > 0.6 and hurt["ideal"] < clean["ideal"]
    row = next(r for r in found.rows if r.rate == 0.2)
    assert row.stuck_lrs == pytest.approx(0.1, abs=0.02) and row.accuracy.n == 2
    before = contents(tiny.folder())
    assert set(before) >= {"report.html", "results.sqlite", "tile.cir"}
    assert evaluate(tiny).ran == 0
    assert contents(tiny.folder()) == before
    rewrite_report(tiny.folder())
    assert contents(tiny.folder()) == before
    page = before["report.html"].decode()
    assert not re.search(r"(src|href)=\"(?!data:)", page)


@pytest.mark.ngspice
def test_more_chips_reuse_what_is_there_and_processes_agree(tiny):
    evaluate(tiny)
    more = tiny.model_copy(
        update={
            "faults": tiny.faults.model_copy(update={"chips": 3}),
            "run": tiny.run.model_copy(update={"workers": 2}),
        }
    )
    assert evaluate(more).ran == 4
    fresh = more.model_copy(
        update={"run": more.run.model_copy(update={"out": more.run.out + "2", "workers": 1})}
    )
    alone, spread = evaluate(fresh), evaluate(more)
    assert [r.accuracy for r in alone.rows] == [r.accuracy for r in spread.rows]


@pytest.mark.ngspice
def test_audited_reads_are_those_of_the_run(tiny):
    audited = tiny.model_copy(
        update={
            "audit": tiny.audit.model_copy(update={"samples": 4}),
            "compare": tiny.compare.model_copy(update={"cells": ("1t1r",)}),
        }
    )
    found = evaluate(audited)
    assert len(found.audits) == 4
    for audit in found.audits:
        assert 0 < audit["max_relative"] < 5e-3 < audit["ideal_max_relative"]
        assert audit["max_adc_steps"] < 1.0


def of_catalogue(tiny, **network):
    content = tiny.model_dump(mode="json")
    return EvaluationFile.model_validate({**content, "network": network})


@pytest.mark.ngspice
def test_networks_of_the_catalogue_are_evaluated_with_the_weights_of_a_folder(
    tiny, digits_network, tmp_path
):
    folder = tmp_path / "weights"
    config = of_catalogue(tiny, name="digits", weights=str(folder))
    with pytest.raises(InputError, match="xbarverify train digits -o"):
        evaluate(config)
    train_network("digits", folder, data=images("digits"))
    eight = config.mapping.model_copy(update={"weight_bits": 8, "device_bits": 4})
    found = evaluate(config.model_copy(update={"mapping": eight}))
    assert {row.label for row in found.rows} == {"digits"} and found.ran == 8
    clean = {row.accuracy.mean for row in found.rows if row.rate == 0.0}
    assert min(clean) > 0.7
    assert "digits, digits," in found.report.read_text()
    rewrite_report(config.folder())


@pytest.mark.data
def test_convolutional_networks_of_the_catalogue_run_with_shipped_weights(tiny):
    config = of_catalogue(tiny, name="lenet-mnist")
    file, sha256 = trained_network(config, "lenet-mnist", on_epoch=lambda done: None)
    assert sha256 == manifest("lenet-mnist")["weights_sha256"]
    clean, faulty = (
        run_task(task, file)
        for task in tasks(config, {"lenet-mnist": sha256})
        if (task.chip, task.fidelity) == (0, "ideal")
    )
    assert clean["accuracy"] > 0.95 > faulty["accuracy"] and faulty["stuck_lrs"] > 0.08


@pytest.mark.ngspice
def test_a_campaign_at_nonlinear_is_audited_at_nonlinear(tiny):
    changes = {
        "cell": tiny.cell.model_copy(update={"memory": "sinh"}),
        "compare": tiny.compare.model_copy(
            update={"fidelities": ("ideal", "nonlinear"), "test_images": 10}
        ),
        "audit": tiny.audit.model_copy(update={"samples": 2}),
    }
    found = evaluate(tiny.model_copy(update=changes))
    assert {row.fidelity for row in found.rows} == {"ideal", "nonlinear"}
    for audit in found.audits:
        assert audit["fidelity"] == "nonlinear" and audit["max_relative"] < 1e-6
    assert "difference of NONLINEAR" in found.report.read_text()


def some_tasks(n):
    common = {"network": "", "setup": "{}", "label": "relu", "cell": "1r", "ocr": 1.0}
    return [Task(**common, fidelity="ideal", rate=0.1, chip=k, fault_seed=0) for k in range(n)]


def test_an_interrupt_loses_no_finished_chip(tmp_path):
    def runner(task):
        if task.chip == 3:
            raise KeyboardInterrupt
        return {"chip": task.chip}

    todo = some_tasks(6)
    with Store(tmp_path / "s.sqlite") as store, pytest.raises(KeyboardInterrupt):
        run_campaign(todo, runner, store, workers=1)
    ran = []
    with Store(tmp_path / "s.sqlite") as store:
        assert len(store.get(task.id for task in todo)) == 3
        assert run_campaign(todo, lambda t: ran.append(t.chip) or {}, store, workers=1) == 3
    assert ran == [3, 4, 5]


def test_task_ids_are_stable_and_see_every_field():
    one, two = some_tasks(2)
    assert one.id == some_tasks(1)[0].id != two.id
    changed = {**asdict(one), "rate": 0.2}
    assert Task(**changed).id != one.id


def test_every_variant_and_fidelity_gets_the_same_chips(tiny):
    found = list(tasks(tiny, {"relu": "x"}))
    assert len({t.id for t in found}) == len(found) == 8
    assert {(t.chip, t.fault_seed) for t in found} == {(0, 0), (1, 0)}


def test_an_unwritable_folder_and_an_unknown_reference_are_refused(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    blocked = tiny.model_copy(
        update={"run": tiny.run.model_copy(update={"out": str(tmp_path / "file")})}
    )
    with pytest.raises(InputError, match="cannot be written"):
        evaluate(blocked)
    with pytest.raises(InputError, match="nobody"):
        evaluate(tiny.model_copy(update={"reference": "nobody:table"}))
    with pytest.raises(InputError, match="does not exist"):
        rewrite_report(tmp_path)
