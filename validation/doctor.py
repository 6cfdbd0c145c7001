"""What this machine has, and what each missing thing costs."""

import os
import platform
import shutil
import warnings
from dataclasses import dataclass
from importlib import metadata

import torch

from circuitsim import default_session
from circuitsim.spice.session import NO_KLU_NOTICE, NO_OSDI_NOTICE
from netlists import InputError, MissingToolError
from nnmap.training.data import data_folder


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor: what was looked for, what is there, what its absence costs."""

    what: str
    found: str
    cost: str = ""

    @property
    def well(self) -> bool:
        """Whether nothing is lost."""
        return not self.cost


def examine() -> list[Finding]:
    """Look at Python, the simulator, torch, the cores and the data folder."""
    findings = [
        Finding(what="Python", found=platform.python_version()),
        Finding(what="PySpice", found=metadata.version("PySpice")),
        *_simulator(),
        Finding(what="torch", found=torch.__version__),
        Finding(
            what="threads", found=f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()}"
        ),
        _data(),
    ]
    return findings


def _simulator() -> list[Finding]:
    try:
        with warnings.catch_warnings(action="ignore"):
            session = default_session()
    except MissingToolError as problem:
        cost = f"no transistor cell can be calibrated and nothing can be audited. {problem}"
        return [Finding(what="libngspice", found="missing", cost=cost)]
    klu_cost = "" if session.has_klu else NO_KLU_NOTICE.format(session.version)
    program = shutil.which("ngspice")
    return [
        Finding(what="libngspice", found=str(session.version)),
        Finding(what="KLU", found="yes" if session.has_klu else "no", cost=klu_cost),
        Finding(
            what="Verilog-A (OSDI)",
            found="yes" if session.has_osdi else "no",
            cost="" if session.has_osdi else NO_OSDI_NOTICE.format(session.version),
        ),
        Finding(
            what="ngspice program",
            found=program or "missing",
            cost="" if program else "reports quote libngspice instead of `ngspice -b tile.cir`.",
        ),
    ]


def _data() -> Finding:
    try:
        folder = data_folder()
    except InputError as problem:
        return Finding(what="data folder", found="broken", cost=str(problem))
    if folder is None:
        return Finding(
            what="data folder",
            found="XBARVERIFY_DATA is not set; MNIST and Fashion-MNIST are downloaded when needed",
        )
    return Finding(what="data folder", found=str(folder))
