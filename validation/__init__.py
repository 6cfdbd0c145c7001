"""Does the claim hold? Campaigns over faulty chips, audits in SPICE, reports.

Public names are imported when they are first asked for: the command line starts without them, and
`validation.evaluate` and `validation.campaign` (torch, dask) are imported by name where they are
wanted.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from validation.config import EvaluationFile
    from validation.files.base import read_toml
    from validation.files.study_file import StudyFile, StudyGrid, read_study
    from validation.files.tile_file import TileFile
    from validation.stats import Interval, chip_interval
    from validation.store import Store

_HOMES = {
    "EvaluationFile": "validation.config",
    "Interval": "validation.stats",
    "Store": "validation.store",
    "StudyFile": "validation.files.study_file",
    "StudyGrid": "validation.files.study_file",
    "TileFile": "validation.files.tile_file",
    "chip_interval": "validation.stats",
    "read_study": "validation.files.study_file",
    "read_toml": "validation.files.base",
}
__all__ = [
    "EvaluationFile",
    "Interval",
    "Store",
    "StudyFile",
    "StudyGrid",
    "TileFile",
    "chip_interval",
    "read_study",
    "read_toml",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
