import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from netlists import InputError
from nnmap import lenet, mapping_table, quantise_aware, resnet20, save_checkpoint
from validation.cli import app
from validation.files.base import read_toml
from validation.files.plan_file import PlanFile
from validation.mapping import mapped_checkpoint

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "map_resnet20.toml"


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "resnet20.th"
    torch.save(resnet20().state_dict(), path)
    return path


def test_the_command_prints_and_writes_the_table(checkpoint, tmp_path):
    table = tmp_path / "table.csv"
    result = CliRunner().invoke(app, ["map", str(checkpoint), str(EXAMPLE), "-o", str(table)])
    assert result.exit_code == 0, result.output
    assert "layer3.2.conv2" in result.output and "total" in result.output
    lines = list(csv.DictReader(table.open()))
    assert len(lines) == 20 and lines[0]["layer"] == "conv1"
    assert sum(int(line["devices"]) for line in lines) == 2 * 268_336


PLAN = """
[network]
make = "lenet"
input = [784]
[cell]
kind = "1r"
"""


def test_the_cost_command_states_its_source_and_the_solved_tiles(tmp_path):
    torch.save(lenet(width=0.5).state_dict(), tmp_path / "half.pt")
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN + "[network.arguments]\nwidth = 0.5\n")
    words = ["cost", str(tmp_path / "half.pt"), str(plan), "--figures"]
    result = CliRunner().invoke(app, [*words, "remeco"])
    assert result.exit_code == 0, result.output
    assert "remeco, Table 2" in result.output and "tiles as solved (linear)" in result.output
    wrong = CliRunner().invoke(app, [*words, "puma"])
    assert isinstance(wrong.exception, InputError) and "isaac" in str(wrong.exception)


def test_safetensors_map_like_other_checkpoints(tmp_path):
    save_checkpoint(quantise_aware(lenet(width=0.5), 8), tmp_path / "x.safetensors")
    plan = lenet_plan(arguments={"width": 0.5})
    mapped, _ = mapped_checkpoint(tmp_path / "x.safetensors", plan, beside=tmp_path)
    assert len(mapping_table(mapped).rows) == 5


@pytest.fixture
def small(tmp_path):
    torch.save(lenet(width=0.3).state_dict(), tmp_path / "small.pt")
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN + "[network.arguments]\nwidth = 0.3\n")
    return str(tmp_path / "small.pt"), str(plan)


def test_extracted_operators_are_kept_and_found_again(small, tmp_path):
    words = ["extract", *small, "--operators", str(tmp_path / "kept"), "--float32"]
    first, again = (CliRunner().invoke(app, words) for _ in range(2))
    assert first.exit_code == again.exit_code == 0, first.output
    assert "tiles at LINEAR" in first.output and first.output == again.output
    tight = CliRunner().invoke(app, [*words, "--memory", "1e-6"])
    assert isinstance(tight.exception, InputError) and "memory=1e-06 GiB" in str(tight.exception)


@pytest.mark.ngspice
def test_the_audit_command_states_every_fidelity_and_a_verdict(small):
    result = CliRunner().invoke(app, ["audit", *small, "--reads", "2"])
    assert result.exit_code == 0, result.output
    assert "against ngspice" in result.output and "Verdict: within limits." in result.output


def lenet_plan(**changes):
    network = {"make": "lenet", "input": [784], **changes}
    return PlanFile.model_validate({"network": network, "cell": {"kind": "1r"}})


def test_plans_take_samples_and_functions_of_ones_own(tmp_path):
    torch.save(lenet(width=0.5).state_dict(), tmp_path / "half.pt")
    np.save(tmp_path / "x.npy", np.ones((3, 784)))
    plan = lenet_plan(
        make="nnmap.networks.perceptrons:lenet", arguments={"width": 0.5}, sample="x.npy"
    )
    mapped, _ = mapped_checkpoint(tmp_path / "half.pt", plan, beside=tmp_path)
    assert len(mapping_table(mapped).rows) == 5


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"make": "vgg99"}, "network.make='vgg99'"),
        ({"make": "nowhere.at:all"}, "cannot be found"),
        ({"make": "nnmap.models:NAMES"}, "cannot be found"),
        ({"arguments": {"depth": 3}}, "do not fit lenet"),
        ({"arguments": {"width": 2.0}}, "does not fit Sequential"),
        ({"sample": "missing.npy"}, "is not a readable .npy file"),
        ({"sample": "x.npy", "input": [1, 28, 28]}, "has shape"),
    ],
)
def test_plans_that_do_not_fit_are_told(changes, words, tmp_path):
    torch.save(lenet().state_dict(), tmp_path / "lenet.pt")
    np.save(tmp_path / "x.npy", np.ones((3, 784)))
    with pytest.raises(InputError, match=words):
        mapped_checkpoint(tmp_path / "lenet.pt", lenet_plan(**changes), beside=tmp_path)


def test_a_plan_file_with_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(EXAMPLE.read_text() + "weight_bit = 8\n")
    with pytest.raises(InputError, match=r"unknown key 'mapping\.weight_bit'"):
        read_toml(path, PlanFile)


def test_a_checkpoint_that_is_not_there_is_told_as_such(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*gone\.pt"):
        mapped_checkpoint(tmp_path / "gone.pt", lenet_plan(), beside=tmp_path)
