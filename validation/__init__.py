"""Does the claim hold? Campaigns over faulty chips, audits in SPICE, reports.

Public names are imported when they are first asked for: the command line starts without them, and
`validation.evaluate` (torch) is imported by name where it is wanted.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from validation.condition import Condition
    from validation.files.base import read_toml
    from validation.files.study_file import StudyFile, StudyGrid, read_study
    from validation.files.tile_file import TileFile
    from validation.precision import Precision
    from validation.statistics import Interval, t_interval
    from validation.study import Results, Study
    from validation.study_of_file import study_of
    from validation.table import Table

_HOMES = {
    "Condition": "validation.condition",
    "Interval": "validation.statistics",
    "Precision": "validation.precision",
    "Results": "validation.study",
    "Study": "validation.study",
    "StudyFile": "validation.files.study_file",
    "StudyGrid": "validation.files.study_file",
    "Table": "validation.table",
    "TileFile": "validation.files.tile_file",
    "read_study": "validation.files.study_file",
    "read_toml": "validation.files.base",
    "study_of": "validation.study_of_file",
    "t_interval": "validation.statistics",
}
__all__ = [
    "Condition",
    "Interval",
    "Precision",
    "Results",
    "Study",
    "StudyFile",
    "StudyGrid",
    "Table",
    "TileFile",
    "read_study",
    "read_toml",
    "study_of",
    "t_interval",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
