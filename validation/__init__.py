"""Does the claim hold? Campaigns over faulty chips, audits in SPICE, reports."""

from validation.campaign import Task, run_campaign
from validation.config import EvaluationFile, TileFile, read_toml
from validation.evaluate import Evaluation, evaluate, rewrite_report
from validation.stats import Interval, chip_interval
from validation.store import Store

__all__ = [
    "Evaluation",
    "EvaluationFile",
    "Interval",
    "Store",
    "Task",
    "TileFile",
    "chip_interval",
    "evaluate",
    "read_toml",
    "rewrite_report",
    "run_campaign",
]
