"""ngspice through PySpice's shared library, in a worker process that can be restarted."""

import atexit
import functools
import os
import subprocess
import sys
import tempfile
import warnings
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from netlists.arrays import FloatArray
from netlists.errors import InputError, MissingToolError

INSTALL_ADVICE = """libngspice was not found. Install it with one of
  Debian 12:     sudo apt-get install -t bookworm-backports libngspice0 ngspice
                 (once the suite bookworm-backports is among the apt sources)
  Debian/Ubuntu: sudo apt-get install libngspice0 ngspice
  Fedora:        sudo dnf install libngspice ngspice
  macOS:         brew install libngspice ngspice
  conda:         conda install -c conda-forge ngspice ngspice-lib
or point NGSPICE_LIBRARY_PATH at the library."""

NO_KLU_NOTICE = (
    "ngspice {} has no KLU solver: results are the same, but a 64x64 tile takes seconds instead of "
    "0.1 s and a 128x128 one a minute and more; version 46 from bookworm-backports has KLU."
)


NO_OSDI_NOTICE = (
    "ngspice {} was built without OSDI and loads no Verilog-A models; version 46 from "
    "bookworm-backports loads them, or give the cell as a plain SPICE subcircuit."
)


TIMEOUT = "XBARVERIFY_NGSPICE_TIMEOUT"  # read by every process, also by workers of a campaign
NOTHING_LOADED = "there aren't any circuits loaded"


class NgspiceError(RuntimeError):
    """ngspice ran and failed; the message is its own."""


class NgspiceSession:
    """One worker process with libngspice loaded; restarts itself after a crash or a timeout.

    Raises MissingToolError when there is no libngspice.
    """

    def __init__(self, *, start_timeout: float = 60.0) -> None:
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.version: int = 0
        self._start()

    def _start(self) -> None:
        ours, theirs = Pipe()
        package_root = str(Path(__file__).resolve().parents[2])
        search = os.pathsep.join(
            [package_root, *_absolute(os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        )
        library = os.environ.get("NGSPICE_LIBRARY_PATH", "")
        named = {"NGSPICE_LIBRARY_PATH": str(Path(library).absolute())} if os.sep in library else {}
        # ngspice runs a `.spiceinit` of the current folder, and models leave files there.
        self._folder = tempfile.TemporaryDirectory(prefix="xbarverify-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "circuitsim.spice.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **named, "PYTHONPATH": search},
            cwd=self._folder.name,
            # A Ctrl-C in the terminal is the caller's to handle, not the worker's.
            start_new_session=True,
        )
        theirs.close()
        self._connection = ours
        hello = self._receive(self._start_timeout)
        if "missing" in hello:
            self.close()
            raise MissingToolError(f"{INSTALL_ADVICE}\n({hello['missing']})")
        self.version = int(hello["version"] or 0)

    def _receive(self, timeout: float) -> dict[str, Any]:
        assert self._connection is not None
        if not self._connection.poll(timeout):
            self.close()
            raise NgspiceError(
                f"ngspice gave no answer within {timeout:g} s and was stopped; solve less at once, "
                f"or give it more seconds (--timeout, or {TIMEOUT} in the environment)."
            )
        try:
            reply: dict[str, Any] = self._connection.recv()
        except (EOFError, ConnectionResetError):
            self.close()
            raise NgspiceError("the ngspice process ended without an answer.") from None
        return reply

    def sweep(
        self,
        netlist: str,
        inputs: list[str],
        v: FloatArray,
        *,
        osdi: Path | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Solve one deck for every row of `v` [batch, inputs].

        osdi: compiled Verilog-A library to load before.
        Returns {"vectors": {name: [batch]}, "klu": bool}.
        Raises NgspiceError when the library fails, crashes or outlasts `timeout` seconds
        (`timeout_seconds` where none are given); the next call starts a fresh process.
        Raises MissingToolError when this ngspice loads no Verilog-A
        and InputError when it cannot load this library.
        """
        columns = dict(zip(inputs, v.T, strict=True))
        reply = self._ask(netlist, f"dc vindex 0 {len(v) - 1} 1", columns, osdi, timeout)
        if any(len(vector) != len(v) for vector in reply["vectors"].values()):
            raise NgspiceError(
                f"ngspice failed: {reply['said'] or 'the sweep stopped before its end'}"
            )
        return reply

    def transient(
        self, netlist: str, *, step: float, stop: float, timeout: float | None = None
    ) -> dict[str, FloatArray]:
        """Integrate a deck from its operating point to `stop`, s, in steps of at most `step`, s.

        Nodes that `.ic` names start there.

        Returns {name: [points]}, "time" among them. Raises NgspiceError as `sweep` does.
        """
        command = f"tran {step!r} {stop!r} 0 {step!r}"
        reply = self._ask(netlist, command, {}, None, timeout)
        vectors: dict[str, FloatArray] = reply["vectors"]
        if vectors["time"][-1] < stop * (1 - 1e-6):
            raise NgspiceError(f"ngspice failed: {reply['said'] or 'it stopped before the end'}")
        return vectors

    def _ask(
        self,
        netlist: str,
        command: str,
        inputs: dict[str, FloatArray],
        osdi: Path | None,
        timeout: float | None,
    ) -> dict[str, Any]:
        timeout = timeout_seconds() if timeout is None else timeout
        request = {"netlist": netlist, "command": command, "inputs": inputs, "osdi": osdi}
        used = self._process is not None
        reply = self._reply_to(request, timeout)
        if used and NOTHING_LOADED in reply.get("error", ""):
            # After some sequences of circuits a library section is read as nothing; a fresh process
            # reads it. Which of them does it is not known.
            self.close()
            reply = self._reply_to(request, timeout)
        if "osdi" in reply:
            self.close()
            if "no such command" in reply["osdi"]:
                raise MissingToolError(NO_OSDI_NOTICE.format(self.version))
            raise InputError(f"ngspice cannot load the OSDI library: {_first_line(reply['osdi'])}")
        if "error" in reply:
            self.close()  # an error can leave the library unusable for good
            raise NgspiceError(f"ngspice failed: {reply['error']}")
        return reply

    def _reply_to(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        if self._process is None:
            self._start()
        assert self._connection is not None
        try:
            self._connection.send(request)
        except BrokenPipeError:
            self.close()
            raise NgspiceError("the ngspice process is gone; call again for a fresh one.") from None
        return self._receive(timeout)

    @functools.cached_property
    def has_klu(self) -> bool:
        """Whether this build has the KLU sparse solver; without it large tiles take minutes."""
        probe = "* probe\nvin_0 a 0 external\nr1 a 0 1.0\nvindex index 0 dc 0\nrindex index 0 1\n"
        reply = self.sweep(probe + ".options klu\n.end\n", ["vin_0"], np.ones((1, 1)))
        return bool(reply["klu"])

    @functools.cached_property
    def has_osdi(self) -> bool:
        """Whether this build loads compiled Verilog-A models."""
        try:
            # A file that is no library fails in another way where the command is known.
            self.sweep("* probe\n.end\n", [], np.ones((1, 0)), osdi=Path(__file__))
        except MissingToolError:
            return False
        except InputError:
            return True
        return True

    def close(self) -> None:
        """End the worker process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._connection = self._folder = None


def _absolute(paths: list[str]) -> list[str]:
    return [str(Path(path).absolute()) for path in paths if path]


def timeout_seconds() -> float:
    """How long ngspice may take for one deck, s: of the environment, 600 where it says nothing.

    Raises InputError where it says what is no positive number.
    """
    written = os.environ.get(TIMEOUT, "600")
    try:
        seconds = float(written)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 1e7:
        raise InputError(f"{TIMEOUT}={written!r} must be a number of seconds above 0, up to 1e7.")
    return seconds


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0]


@functools.cache
def default_session() -> NgspiceSession:
    """The session of this process, started on first use and closed at exit; warns without KLU."""
    session = NgspiceSession()
    atexit.register(session.close)
    if not session.has_klu:
        warnings.warn(NO_KLU_NOTICE.format(session.version), stacklevel=2)
    return session
