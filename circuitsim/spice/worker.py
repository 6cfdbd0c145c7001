"""The process that holds libngspice. Runs as `python -m circuitsim.spice.worker FD`.

The only importer of PySpice. One request and one reply at a time over the inherited connection;
a crash or a hang of the library costs this process and nothing else.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np


def _open_library() -> Any:
    os.environ.setdefault("NGSPICE_LIBRARY_PATH", "libngspice.so.0")
    logging.disable(logging.CRITICAL)  # PySpice warns about every ngspice newer than 34
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared

    class Library(NgSpiceShared):  # type: ignore[misc]
        """libngspice with row voltages fed from an array, one row per sweep point."""

        inputs: dict[str, np.ndarray] = {}
        point = 0

        @staticmethod
        def _send_data(data: Any, count: int, ident: int, user: Any) -> int:
            # Called once per accepted point; the values are read from the plot afterwards.
            Library.point += 1
            return 0

        def get_vsrc_data(self, voltage: Any, time: float, node: str, ident: int) -> int:
            values = Library.inputs[node.lower()]
            voltage[0] = values[min(Library.point, len(values) - 1)]
            return 0

    library = Library(send_data=True)
    library.exec_command("set noaskquit")
    return library


def _run(library: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Run one command on one netlist; vectors come back as arrays with one value per point.

    Sources declared `external` take their values at each point from `inputs`, name -> array.
    """
    from PySpice.Spice.NgSpice.Shared import NgSpiceCommandError

    type(library).inputs = request["inputs"]
    type(library).point = 0
    if request["osdi"]:
        try:
            library.exec_command(f"osdi {request['osdi']}")
        except NgSpiceCommandError:
            return {"osdi": library.stderr or library.stdout}
    try:
        library.load_circuit(request["netlist"])
        log = list(library._stdout)
        try:
            library.exec_command(request["command"])
        except NgSpiceCommandError:
            # Notes of steps towards a start are no failure; a run that stopped has a line of error.
            if not all(line.startswith(("Warning", "Note", "Trying")) for line in library._stderr):
                return {"error": library.stderr or library.stdout}
        log += list(library._stdout)
        plot = library.plot(None, library.last_plot)
        vectors = {name: np.array(vector._data) for name, vector in plot.items()}
        klu = any("Using KLU" in line for line in log)
        return {"vectors": vectors, "klu": klu, "said": library.stderr}
    finally:
        for command in ("destroy all", "remcirc"):
            with contextlib.suppress(Exception):
                library.exec_command(command)


def _die_with_parent() -> None:
    """End the process when its parent has: a killed caller must not leave a solve behind.

    ngspice runs without the interpreter's lock, so this thread is heard in the middle of one.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def serve(connection: Connection) -> None:
    """Answer requests until the other side closes."""
    try:
        library = _open_library()
    except OSError as problem:
        connection.send({"missing": str(problem)})
        return
    connection.send({"version": library.ngspice_version})
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        try:
            reply = _run(library, request)
        except Exception as problem:  # the reply must go out whatever the library did
            reply = {"error": f"{type(problem).__name__}: {problem} {library.stderr}".strip()}
        connection.send(reply)


if __name__ == "__main__":
    _die_with_parent()
    serve(Connection(int(sys.argv[1])))
