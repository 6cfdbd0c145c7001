"""The main job end to end, and what it leaves behind."""

import re

import pytest

from netlists import InputError
from nnmap.networks.pretrained import images, manifest, train_network
from validation.audit.sample import audit_read
from validation.campaign.store import Store
from validation.evaluate import evaluate, rewrite_report
from validation.files.study_file import study_grid
from validation.sources import identify
from validation.study import STORE, counted_table
from validation.study_of_file import study_of


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def means(found):
    return {
        (row["faults.rate"], row["measure.fidelity"]): row["mean"]
        for row in found.results.summarise().to_dicts()
    }


@pytest.mark.ngspice
def test_a_run_reports_and_a_rerun_changes_no_byte(tiny):
    grid = tiny()
    found = evaluate(grid)
    assert found.results.summary.ran == 8
    accuracy = means(found)
    assert accuracy[0.0, "ideal"] > 0.6 > accuracy[0.2, "ideal"] and len(accuracy) == 4
    folder = grid.common.folder()
    before = contents(folder)
    assert set(before) >= {"report.html", "results.sqlite", "tile.cir"}
    assert evaluate(grid).results.summary.ran == 0
    assert contents(folder) == before
    rewrite_report(folder)
    assert contents(folder) == before
    page = before["report.html"].decode()
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "Chips as drawn" in page and "stuck_hrs" in page


@pytest.mark.ngspice
def test_circuits_that_lose_without_faults_say_so_and_to_what(tiny):
    """One plan on long wires, one on short: the warning is of the first, and names it."""
    grid = tiny({"sweep": {"tile.r_row_segment": [0.01, 500.0]}})
    short, long = evaluate(grid).losses
    assert short["sentence"] == "" and short["total"] < 1 < long["total"]
    assert f"circuit takes {long['total']:.1f} points" in long["sentence"]
    assert "most of it by wires" in long["sentence"] and "r_row_segment = 500.0" in long["axes"]
    assert "linear" not in long["axes"] and "faults" not in long["axes"]
    page = (grid.common.folder() / "report.html").read_text()
    assert long["sentence"] in page and f"{100 * long['bend']:.1f}</td>" in page
    again = evaluate(tiny({"tile": {"r_row_segment": 500.0}}))
    assert [loss["bend"] for loss in again.losses] == [long["bend"]]
    assert evaluate(tiny({"measure": {"fidelities": ["ideal"]}}, out="o2")).losses == []


@pytest.mark.ngspice
def test_more_chips_reuse_what_is_there_and_processes_agree(tiny):
    evaluate(tiny())
    more = {"faults": {"chips": 3}}
    spread = evaluate(tiny(more, settings=["run.workers=2"]))
    assert spread.results.summary.ran == 4
    alone = evaluate(tiny(more, out="out2"))
    assert alone.results.table().equals(spread.results.table())


@pytest.mark.ngspice
def test_audited_reads_are_those_of_the_run(tiny):
    changes = {"audit": {"samples": 4}, "cell": {"kind": "1t1r"}}
    grid = tiny({**changes, "mitigation": [{"kind": "row_assignment"}]})
    found = evaluate(grid)
    assert len(found.audits) == 4
    for audit in found.audits:
        assert 0 < audit["max_relative"] < 5e-3 < audit["ideal_max_relative"]
        assert audit["max_adc_steps"] < 1.0
    assert [dict(a) for a in evaluate(grid).audits] == [dict(a) for a in found.audits]


@pytest.mark.ngspice
def test_networks_of_the_catalogue_are_evaluated_with_the_weights_of_a_folder(
    tiny, digits_network, tmp_path
):
    folder = tmp_path / "weights"
    raw = {
        "name": "named",
        "network": {"name": "digits", "weights": str(folder)},
        "tile": {"rows": 32, "cols": 32},
        "cell": {"kind": "1r"},
        "mapping": {"weight_bits": 8, "device_bits": 4},
        "faults": {"rates": [0.0, 0.2], "chips": 2},
        "measure": {"images": 50},
        "audit": {"samples": 0},
        "run": {"out": str(tmp_path)},
    }
    grid = study_grid(raw, beside=tmp_path)
    with pytest.raises(InputError, match="xbarverify train digits -o"):
        evaluate(grid)
    train_network("digits", folder, data=images("digits"))
    found = evaluate(grid)
    assert "digits" in found.report.read_text()
    assert found.results.table()["accuracy"].max() > 0.7


@pytest.mark.data
@pytest.mark.ngspice
def test_shipped_networks_are_those_of_their_manifests(tiny, tmp_path):
    raw = {
        "name": "lenet",
        "network": {"name": "lenet-mnist"},
        "faults": {"rates": [0.0, 0.2], "chips": 2},
        "cell": {"kind": "1r"},
        "measure": {"fidelity": "ideal", "images": 50},
        "run": {"out": str(tmp_path)},
    }
    study = study_of(study_grid(raw, beside=tmp_path))
    source = next(iter(study.sources.values()))
    assert identify(source).weights == manifest("lenet-mnist")["weights_sha256"]
    frame = study.run(tmp_path).table()
    clean, faulty = (frame.filter(frame["faults.rate"] == rate) for rate in (0.0, 0.2))
    assert clean["accuracy"].min() > 0.9 > faulty["accuracy"].max()
    assert faulty["stuck_lrs"].min() > 0.08


@pytest.mark.ngspice
def test_a_study_at_nonlinear_is_audited_at_nonlinear(tiny):
    found = evaluate(
        tiny(
            {
                "cell": {"memory": "sinh"},
                "measure": {"fidelities": ["ideal", "nonlinear"], "images": 10},
                "audit": {"samples": 2},
            }
        )
    )
    assert set(found.results.table()["measure.fidelity"]) == {"ideal", "nonlinear"}
    for audit in found.audits:
        assert audit["fidelity"] == "nonlinear" and audit["max_relative"] < 1e-6
    assert "difference of NONLINEAR" in found.report.read_text()


@pytest.mark.ngspice
def test_an_unwritable_folder_and_an_unknown_reference_are_refused(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        evaluate(tiny(out="file"))
    with pytest.raises(InputError, match="nobody"):
        evaluate(tiny({"reference": "nobody:table"}))
    with pytest.raises(InputError, match="does not exist"):
        rewrite_report(tmp_path)


@pytest.mark.ngspice
def test_an_audit_that_fails_is_told_and_takes_nothing_with_it(tiny, monkeypatch):
    def no_balance(read, runner):
        if read.draw:
            raise InputError("this read finds no balance.")
        return audit_read(read, runner)

    monkeypatch.setattr("validation.audit.sample.audit_read", no_balance)
    monkeypatch.setattr("validation.evaluate.make_tile_view", lambda *_, **__: 1 / 0)
    grid = tiny({"audit": {"samples": 3}})
    found = evaluate(grid)
    assert len(found.audits) == 1 and len(found.results.table()) == 8
    assert found.unfinished == [
        "no tile could be shown: ZeroDivisionError: division by zero",
        "2 of 3 reads could not be audited, most often because: this read finds no balance.",
    ]
    page = found.report.read_text()
    assert all(sentence in page for sentence in found.unfinished) and "One tile" not in page
    monkeypatch.undo()
    assert len(evaluate(grid).audits) == 3
    assert "Not done" not in found.report.read_text() and "One tile" in found.report.read_text()


@pytest.mark.ngspice
def test_a_condition_that_cannot_run_leaves_the_others_their_report(tiny):
    grid = tiny({"measure": {"images": 0}, "sweep": {"measure.images": [50, 99999]}})
    found = evaluate(grid)
    failures = found.results.long_table().failures()
    assert [(f["measure.images"], f["failed"], f["chips"]) for f in failures] == [(99999, 2, 2)] * 4
    assert all("99999 test images are asked for" in f["reason"] for f in failures)
    assert found.unfinished == []
    page = found.report.read_text()
    assert "8 chips failed" in page and failures[0]["reason"].split("'")[0] in page


@pytest.mark.ngspice
def test_where_every_chip_failed_the_reason_is_told_and_the_rows_are_kept(tiny):
    grid = tiny({"measure": {"images": 99999, "fidelities": ["ideal"]}})
    reason = "all 4 chips failed, each with InputError: images = 99999 test images"
    with pytest.raises(InputError, match=reason):
        evaluate(grid)
    with Store(grid.common.folder() / STORE, create=False) as store:
        assert counted_table(store).frame["error"].null_count() == 0
    with pytest.raises(InputError, match=reason):
        rewrite_report(grid.common.folder())


@pytest.mark.ngspice
def test_a_report_that_cannot_be_written_is_one_sentence(tiny):
    grid = tiny({"measure": {"fidelities": ["ideal"]}})
    page = evaluate(grid).report
    page.unlink()
    page.mkdir()  # what not even an administrator can write to
    with pytest.raises(InputError, match=r"report.html cannot be written: Is a directory"):
        rewrite_report(page.parent)
