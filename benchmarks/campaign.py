"""What a study costs: one process against two, precision against brute force, the command's start.

    python -m benchmarks.campaign [workers] [precision] [start]

All parts where none is named. The BNN of MNIST (784-512-10, 1T1R, 20 % stuck, LINEAR, 8-bit
converters) needs its data set; every part runs its rival in the same run and prints the ratio.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from validation import read_study, study_of

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "examples" / "bnn_mnist.toml"
BASE = (
    "faults.rates=[0.2]", "measure.fidelities=['linear']", 'sweep."cell.kind"=["1t1r"]',
    "audit.samples=0",
)  # fmt: skip


def seconds(*settings: str, workers: int = 1) -> tuple[float, float, int]:
    """(seconds of a run, half width in points, chips) of the study with these settings."""
    study = study_of(read_study(STUDY, [*BASE, *settings]))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        results = study.run(folder, workers=workers)
        took = time.perf_counter() - start
        row = results.summarise().to_dicts()[0]
        half = max(row["high"] - row["mean"], row["mean"] - row["low"])
        return took, 100 * half, row["n"]


def workers() -> None:
    """Chips of 10,000 images each on one process and on two, start-up of the processes included."""
    seconds("faults.chips=2", "measure.images=100")  # compiles and calibrates once
    some = ("faults.chips=48", "measure.images=10000")
    one, _, _ = seconds(*some)
    two, _, _ = seconds(*some, workers=2)
    print(f"48 chips x 10,000 images: {one:.1f} s on one process, {two:.1f} s on two, ", end="")
    print(f"{one / two:.2f} x")


def precision() -> None:
    """A half width of one point against 8 chips of all images."""
    brute = seconds("faults.chips=8", "measure.images=10000")
    wanted = seconds("faults.chips=8", "measure.images=0", "precision.half_width=1")
    print(f"8 chips x 10,000 images: {brute[0]:.1f} s, half width {brute[1]:.2f} points")
    print(
        f"half width 1 point: {wanted[0]:.1f} s, {wanted[2]} chips, half width "
        f"{wanted[1]:.2f} points, {wanted[0] / brute[0]:.2f} of the time"
    )
    chips = brute[2] * (brute[1] / wanted[1]) ** 2
    print(f"all images to that half width: about {brute[0] * chips / brute[2]:.0f} s")


def start() -> None:
    """The command's help, median of nine."""
    command = Path(sys.executable).with_name("xbarverify")
    took = []
    for _ in range(9):
        begin = time.perf_counter()
        subprocess.run([command, "--help"], check=True, capture_output=True)
        took.append(time.perf_counter() - begin)
    print(f"xbarverify --help: {statistics.median(took):.2f} s")


PARTS = {"workers": workers, "precision": precision, "start": start}

if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()
