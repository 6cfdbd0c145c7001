import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from netlists import DefectRates, FaultRates, InputError
from netlists.variation import LognormalSpread, RetentionDrift
from nnmap import MappingPlan
from validation.files.keys import known_keys, require_known
from validation.files.network_section import OwnSection, PerceptronSection
from validation.files.plan_file import MappingSection
from validation.files.study_file import StudyFile, read_study
from validation.files.tile_section import tile_spec

ROOT = Path(__file__).resolve().parents[3]
SMALL = """
name = "t"
[network]
dataset = "digits"
hidden = [8]
"""
FULL = (
    SMALL
    + """
activations = ["relu", "tanh"]
[tile]
rows = 16
cols = 8
[cell]
r_lrs = 2e4
[mapping]
encoding = "offset"
adc_bits = 0
[faults]
rates = [0.0, 0.3]
ocr = 2.0
stuck_at = 0.1
stuck_lrs = { median = 4e-4, sigma = 0.2 }
pattern = "rows"
chips = 5
[defects]
open_row = 0.01
[[variation]]
kind = "lognormal_spread"
sigma = 0.1
[noise]
read = 0.02
drift = { time = 100.0, nu = 0.05 }
[[mitigation]]
kind = "fpt"
momentum = 0.1
[[mitigation]]
kind = "flip"
name = "rows"
[measure]
images = 50
fidelities = ["ideal", "linear"]
[precision]
half_width = 0.5
[audit]
samples = 4
[run]
scheduler = "tcp://10.0.0.1:8786"
[sweep]
"tile.rows" = [16, 32]
"mitigation.fpt.momentum" = [0.1, 0.2]
"""
)


def study(tmp_path, text, *settings):
    path = tmp_path / "s.toml"
    path.write_text(text)
    return read_study(path, settings)


def test_the_smallest_study_is_one_point_of_defaults(tmp_path):
    grid = study(tmp_path, SMALL)
    [point] = grid.points
    assert point.axes == {} and grid.beside == tmp_path.resolve()
    assert isinstance(point.file.network, PerceptronSection)
    assert point.file.defects.rates() is None and point.file.variations() == ()
    assert (point.file.variant, point.file.measure.fidelity) == ("none", "linear")
    assert (grid.common.run.workers, grid.common.precision) == (1, None)


def test_a_full_study_turns_into_the_toolkits_types(tmp_path):
    grid = study(tmp_path, FULL)
    file = grid.points[-1].file
    expected = FaultRates(stuck_lrs=0.1, stuck_hrs=0.2, stuck_at=0.1)
    assert asdict(file.faults.rates()) == pytest.approx(asdict(expected))
    assert file.faults.stuck_lrs.median == 4e-4 and file.faults.stuck_hrs is None
    assert file.defects.rates() == DefectRates(open_row=0.01)
    assert file.variations() == (LognormalSpread(sigma=0.1),)
    assert file.noise.drift.build() == RetentionDrift(time=100.0, nu=0.05)
    plan = file.mapping.plan(tile_spec(file.tile, file.cell.build()))
    assert isinstance(plan, MappingPlan) and plan.adc_bits is None and plan.spec.rows == 32
    assert grid.common.run.scheduler == "tcp://10.0.0.1:8786"
    assert file.network.recipe().lr == 0.01


def test_axes_are_what_the_study_varies_and_none_where_they_say_nothing(tmp_path):
    grid = study(tmp_path, FULL)
    assert list(grid.points[0].axes) == [
        "tile.rows", "mitigation.fpt.momentum", "network.activation", "faults.rate",
        "measure.fidelity", "variant",
    ]  # fmt: skip
    by_variant = {name: [p for p in grid.points if p.axes["variant"] == name]
                  for name in ("none", "fpt", "rows")}  # fmt: skip
    assert [len(found) for found in by_variant.values()] == [16, 32, 16]
    assert {p.axes["mitigation.fpt.momentum"] for p in by_variant["rows"]} == {None}
    assert {p.axes["mitigation.fpt.momentum"] for p in by_variant["fpt"]} == {0.1, 0.2}
    for point in by_variant["fpt"]:
        [one] = point.file.mitigation
        assert one.parameters == {"momentum": point.axes["mitigation.fpt.momentum"]}
    assert len({tuple(p.axes.values()) for p in grid.points}) == len(grid.points)


def test_variants_combine_mitigations_in_their_order(tmp_path):
    variants = '[[variant]]\nname = "both"\nmitigations = ["rows", "fpt"]\n'
    [*_, last] = study(tmp_path, FULL + variants).points
    assert last.axes["variant"] == last.file.variant == "both"
    assert [one.kind for one in last.file.mitigation] == ["flip", "fpt"]


def test_settings_overrule_the_file(tmp_path):
    grid = study(tmp_path, FULL, "tile.rows=64", "faults.rate=0.2", "cell.kind=1r", "name=u")
    assert {(p.file.tile.rows, p.file.faults.rate, p.file.cell.kind) for p in grid.points} == {
        (64, 0.2, "1r")
    }
    assert "tile.rows" not in grid.points[0].axes and grid.common.name == "u"


def test_own_networks_name_functions_and_files_beside_the_study(tmp_path):
    own = "[network]\nmake = 'my.net:make'\ndata = 'my:data'\ncheckpoint = 'w.pt'\n"
    own += "arguments = { width = 2 }\n"
    file = study(tmp_path, "name = 't'\n" + own, "network.arguments.width=3").common
    assert isinstance(file.network, OwnSection) and file.network.arguments == {"width": 3}
    assert file.network.checkpoint == str((tmp_path / "w.pt").resolve())


KIT = """
[cell]
r_lrs = 1e4
path = "c.sp"
name = "c"
ports = { drive = "a", sense = "b" }
states = { lrs = 1e-4, hrs = 1e-6 }
[sweep]
"cell.kind" = ["1r", "subckt"]
"cell.r_hrs" = [1e6, 2e6]
"""


def test_swept_kinds_of_cells_find_their_own_keys(tmp_path):
    grid = study(tmp_path, SMALL + KIT)
    assert [tuple(p.axes.values()) for p in grid.points] == [
        ("1r", 1e6), ("1r", 2e6), ("subckt", None),
    ]  # fmt: skip
    assert grid.points[0].file.cell.path is None and grid.points[2].file.cell.name == "c"
    with pytest.raises(InputError, match=r"\[cell\] kind = '1r' has no key 'name'"):
        study(tmp_path, SMALL + KIT.replace('"subckt"', '"1t1r"'))


def test_networks_may_be_swept_as_tables(tmp_path):
    text = 'name = "t"\n[sweep]\nnetwork = [{ name = "lenet-mnist" }, { name = "mlp-mnist" }]\n'
    grid = study(tmp_path, text)
    assert [p.axes["network"] for p in grid.points] == ["lenet-mnist", "mlp-mnist"]


FPT = "[[mitigation]]\nkind = 'fpt'\n"
NONE = "[[variant]]\nname = 'none'\n"
BAD = [
    ("[tile]\nrwos = 3\n", (), "unknown key 'tile.rwos'"),
    ("[sweep]\n'tile.rwos' = [3]\n", (), "unknown key 'tile.rwos'; did you mean 'tile.rows'"),
    ("[sweep]\n'tiles.rows' = [3]\n", (), "did you mean 'tile.rows'"),
    ("[sweep]\n'zzz' = [3]\n", (), "unknown key 'zzz'; keys are written 'section.key'"),
    ("[sweep]\n'tile.rows' = []\n", (), "leaves nothing to run"),
    ("[faults]\nrates = []\n", (), "leaves nothing to run"),
    ("[sweep]\n'tile.rows' = [8, 0]\n", (), r"tile.rows = 0: .* \(at tile.rows = 0\)"),
    ("[sweep]\n'faults.stuck_at' = [0.1, 0.9]\n[faults]\nrate = 0.2\n", (),
     r"exceeds 1; a memory has one state \(at faults.stuck_at = 0.9\)"),
    ("[sweep]\n'tile.r_driver' = [1.0, -1.0]\n", (), r"r_driver=.*\(at tile.r_driver = -1.0\)"),
    ("[sweep]\n'run.workers' = [1, 2]\n", (), "cannot be swept: it is one for the whole study"),
    ("[sweep]\n'faults.chips' = [8, 9]\n", (), "cannot be swept: every point has the same chips"),
    ("[sweep]\nvariant = ['a']\n", (), r"cannot be swept: list \[\[variant\]\] tables"),
    ("[sweep]\n'faults.rates' = [[0.1]]\n", (), "sweep 'faults.rate'"),
    ("", ("tile.rwos=1",), "unknown key 'tile.rwos'; did you mean 'tile.rows'"),
    ("", ("sweep.'tile.rwos'=[1]",), "unknown key 'tile.rwos'"),
    ("", ("tile.rows=0",), "tile.rows = 0: input should be greater"),
    ("", ("fault.rates=[1]",), "did you mean 'faults.rates'"),
    ("", ("name.x=1",), "unknown key 'name.x'"),
    ("[faults]\nrates = [0.1, 1.5]\n", (), r"faults.rate = 1.5: .*\(at faults.rate = 1.5\)"),
    ("[faults]\npattern = 'spots'\n", (), "faults.pattern = 'spots'"),
    ("[faults]\nstuck_lrs = { median = -1.0 }\n", (), "faults.stuck_lrs.median = -1.0"),
    ("[defects]\nopen_row = [[1, 2]]\n", (), "defects.open_row"),
    ("[defects]\ntransistor_open = 0.6\ntransistor_shorted = 0.6\n", (), "exceeds 1"),
    ("[variation]\nkind = 'x'\n", (), r"'variation' is a list of tables; head .*\[\[variation\]\]"),
    ("[[variation]]\nkind = 'lognormal_spred'\n", (), "did you mean 'lognormal_spread'"),
    ("[[variation]]\nkind = 'gaussian_spread'\nsigme = 1\n", (),
     r"has no key 'sigme' \(did you mean 'sigma'\?\); it takes sigma"),
    ("[[variation]]\nkind = 'gaussian_spread'\n", (),
     "key 'variation.gaussian_spread.sigma' is missing"),
    ("[[variation]]\nkind = 'gaussian_spread'\nsigma = -1\n", (), "sigma=-1.0 must be finite"),
    ("[[variation]]\nkind = 'gaussian_spread'\nsigma = 'x'\n", (), "gaussian_spread.sigma = 'x'"),
    ("[noise]\ndrift = { time = 0.5, nu = 1.0 }\n", (), "time=0.5 s must be finite"),
    ("[measure]\nkind = 'speed'\n", (), "measure.kind = 'speed'"),
    ("[measure]\nfidelities = ['ideal', 'spice']\n", (), "measure.fidelity = 'spice'"),
    ("[precision]\nmax_chips = 3\n", (), "key 'precision.half_width' is missing"),
    ("[run]\nscheduler = 'localhost'\n", (), "run.scheduler = 'localhost'"),
    (FPT + FPT, (), r"\[\[mitigation\]\] 'fpt' is there twice; give each a name"),
    (FPT + NONE, (), r"'fpt' is in no \[\[variant\]\]"),
    (NONE + "mitigations = ['x']\n", (), "names the mitigation 'x', and there are none"),
    (NONE + NONE, (), r"\[\[variant\]\] 'none' is there twice"),
    (NONE + NONE.replace("none", "nil"), (), "'none' and 'nil' are the same"),
    (FPT + NONE + "mitigations = ['fpt', 'fpt']\n", (), "'fpt' is there twice; name it once"),
    (FPT + NONE + "mitigation = ['fpt']\n", (), "unknown key 'variant.0.mitigation'"),
]  # fmt: skip


@pytest.mark.parametrize("text, settings, words", BAD, ids=[bad[2] for bad in BAD])
def test_bad_studies_get_one_sentence(tmp_path, text, settings, words):
    with pytest.raises(InputError, match=words) as found:
        study(tmp_path, SMALL + text, *settings)
    sentence = str(found.value)
    assert re.search(r"[\w'\])][.?]$", sentence) and "\n" not in sentence


@pytest.mark.parametrize(
    "network, words",
    [
        ("hidden = [3]", "has none of them"),
        ("name = 'lenet-mnist'\nmake = 'a:b'", "has 'name' and 'make'"),
        ("name = 'vgg99'", "no network of this name"),
        ("make = 'a:b'", "key 'network.data' is missing"),
        ("make = ':'\ndata = 'a:b'", "network.make = ':': .*'package.module:function'"),
        ("make = 'a:b'\ndata = 'lenet'", "network.data = 'lenet': .*'package.module:function'"),
        ("dataset = 'digits'\nhidden = [3]\nwidth = 3", "unknown key 'network.width'"),
    ],
)
def test_networks_that_are_none_are_told(tmp_path, network, words):
    with pytest.raises(InputError, match=words):
        study(tmp_path, f"name = 't'\n[network]\n{network}\n")


@dataclass(frozen=True, kw_only=True)
class Tuned:
    rate: float
    layers: tuple[str, ...] = ()


def test_kinds_are_made_from_their_fields(tmp_path):
    text = "[[mitigation]]\nkind = 'tuned'\nrate = 1\nlayers = ['a']\n"
    [one] = study(tmp_path, SMALL + text).points[-1].file.mitigation
    made = one.made({"tuned": Tuned}, key="mitigation.tuned")
    assert made == Tuned(rate=1.0, layers=("a",)) and isinstance(made.rate, float)
    with pytest.raises(InputError, match=r"mitigation.x.kind = 'tuned' is not one of turned .did"):
        one.made({"turned": Tuned}, key="mitigation.x")
    with pytest.raises(InputError, match="has no key 'rate'; it takes layers"):
        one.made({"tuned": Tuned}, key="m", rate=2.0)


def test_every_key_of_a_study_is_known_and_the_plan_has_the_same_keys():
    keys = known_keys(StudyFile)
    assert {"tile.rows", "noise.drift.nu", "network.make", "network.dataset"} <= set(keys)
    for key in [*keys, "network.arguments.a.b", "variation.0.sigma", "mitigation.fpt.momentum"]:
        require_known(key, StudyFile)
    fields = set(MappingPlan.__dataclass_fields__) - {"spec"}
    assert set(MappingSection.model_fields) == fields


def test_reading_a_study_needs_no_torch(tmp_path):
    (tmp_path / "s.toml").write_text(FULL)
    code = (
        "import sys\nfrom validation import read_study\n"
        f"n = len(read_study({str(tmp_path / 's.toml')!r}).points)\n"
        "print(n, {'torch', 'matplotlib', 'dask', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split("\n")[0] == "64 set()"
