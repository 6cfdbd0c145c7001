"""Does the claim hold? Campaigns over faulty chips, audits in SPICE, reports.

`validation.evaluate` and `validation.campaign` (torch, dask) are imported by name where they are
wanted: a single tile on the command line needs neither.
"""

from validation.config import EvaluationFile, TileFile, read_toml
from validation.stats import Interval, chip_interval
from validation.store import Store

__all__ = [
    "EvaluationFile",
    "Interval",
    "Store",
    "TileFile",
    "chip_interval",
    "read_toml",
]
