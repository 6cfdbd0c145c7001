"""Hold the tables of the READMEs against what their commands give, or write them anew.

    python scripts/readme.py [--write] [WORDS...]

A table stands between two comments, the first of which names where it comes from:

    <!-- table: study examples/quickstart.toml -->      the study run, its main quantity
    <!-- table: csv benchmarks/accuracy.csv -->         columns of a file that a benchmark wrote
    <!-- end -->

WORDS choose the tables whose source contains one of them; all where left out.
"""

import csv
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "netlists/README.md", "circuitsim/README.md", "nnmap/README.md")
TABLE = re.compile(r"(<!-- table: (\S+) (\S+) -->\n)(.*?)(<!-- end -->)", re.S)
ACCURACY = {
    "network": "network",
    "setting": "setting",
    "unmapped": "unmapped",
    "quantised": "quantised",
    "ideal": "IDEAL",
    "converted": "with 8-bit converters",
}


def of_study(path: Path) -> str:
    """The study's main quantity, run in a folder of its own without an audit."""
    from validation import read_study, study_of
    from validation.pivot import pivot
    from validation.report.markdown import markdown
    from validation.report.page import is_share

    with tempfile.TemporaryDirectory() as folder:
        settings = ["audit.samples=0", f"run.out={folder}"]
        results = study_of(read_study(path, settings)).run(folder)
        summary = results.summarise()
        return markdown(pivot(summary, results.long_table().axes), percent=is_share(summary))


def of_csv(path: Path) -> str:
    """The columns of `ACCURACY` that the file has."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in ACCURACY if name in rows[0]]
    lines = ["| " + " | ".join(ACCURACY[name] for name in names) + " |", "|---" * len(names) + "|"]
    lines += ["| " + " | ".join(row[name] for name in names) + " |" for row in rows]
    return "\n".join(lines)


MADE: dict[str, Callable[[Path], str]] = {"study": of_study, "csv": of_csv}


def main(words: list[str], *, write: bool) -> int:
    """How many tables differ from what they come from."""
    wrong = 0
    for page in PAGES:
        before = (ROOT / page).read_text()
        after = before
        for head, kind, source, body, end in TABLE.findall(before):
            if words and not any(word in source for word in words):
                continue
            made = MADE[kind](ROOT / source) + "\n"
            same = made == body
            wrong += not same
            print(f"{page}: {source}: {'as printed' if same else 'differs'}", flush=True)
            after = after.replace(head + body + end, head + made + end)
        if write and after != before:
            (ROOT / page).write_text(after)
    return wrong


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--write"]
    writing = "--write" in sys.argv[1:]
    sys.exit(1 if main(given, write=writing) and not writing else 0)
