import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from circuitsim import NgspiceError, NgspiceSession, solve
from circuitsim.spice.batch import solve_circuit
from circuitsim.spice.session import default_session
from netlists import Drive, InputError, MissingToolError, build_circuit
from tests.strategies import random_tile
from tests.tolerances import assert_close

pytestmark = pytest.mark.ngspice

DIVIDER = """* divider
vin_0 a 0 external
r1 a b 1000.0
r2 b 0 3000.0
vindex index 0 dc 0
rindex index 0 1.0
.end
"""


@pytest.fixture
def session():
    session = NgspiceSession()
    yield session
    session.close()


def test_many_inputs_on_one_load(session):
    v = np.linspace(-1, 1, 37)[:, None]
    reply = session.sweep(DIVIDER, ["vin_0"], v)
    assert_close(reply["vectors"]["b"], 0.75 * v[:, 0], 1e-12)


def test_inputs_of_one_request_do_not_leak_into_the_next(session):
    first = session.sweep(DIVIDER, ["vin_0"], np.full((5, 1), 4.0))
    second = session.sweep(DIVIDER, ["vin_0"], np.full((2, 1), 8.0))
    assert first["vectors"]["b"].tolist() == [3.0] * 5
    assert second["vectors"]["b"].tolist() == [6.0] * 2


def test_a_broken_netlist_is_an_error_and_the_next_one_works(session):
    with pytest.raises(NgspiceError):
        session.sweep(DIVIDER.replace("3000.0", "{undefined}"), ["vin_0"], np.ones((1, 1)))
    assert session.sweep(DIVIDER, ["vin_0"], np.ones((1, 1)))["vectors"]["b"] == [0.75]


def test_a_killed_worker_is_replaced(session):
    session._process.kill()
    session._process.wait()
    with pytest.raises(NgspiceError):
        session.sweep(DIVIDER, ["vin_0"], np.ones((1, 1)))
    assert session.sweep(DIVIDER, ["vin_0"], np.ones((1, 1)))["vectors"]["b"] == [0.75]


def test_a_hang_is_cut_off(session):
    with pytest.raises(NgspiceError, match="no answer within"):
        session.sweep(DIVIDER, ["vin_0"], np.ones((200_000, 1)), timeout=0.01)
    assert session.sweep(DIVIDER, ["vin_0"], np.ones((1, 1)))["vectors"]["b"] == [0.75]


def test_a_missing_library_is_told_with_the_commands_that_mend_it(monkeypatch):
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "libngspice-that-is-not-there.so")
    with pytest.raises(MissingToolError, match="apt-get install"):
        NgspiceSession()


def test_memory_stays_flat_over_many_loads(session):
    """Each load is destroyed; a leak of the whole circuit would be 5 MB a load."""

    def resident():
        pages = Path(f"/proc/{session._process.pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    tile = random_tile(24, 24, 1)
    drive = Drive(v=np.ones((2, 24)))
    circuit = build_circuit(tile, drive)
    for _ in range(5):
        solve_circuit(circuit, session=session)
    before = resident()
    for _ in range(20):
        solve_circuit(circuit, session=session)
    assert resident() - before < 10e6


def test_the_shared_session_is_one():
    assert default_session() is default_session()


def test_a_drive_that_does_not_fit_is_refused_before_ngspice_runs():
    with pytest.raises(InputError, match="rows"):
        solve(random_tile(3, 3, 1), Drive(v=[1.0]), solver="ngspice")


BUSY_CALLER = """
import numpy as np
from circuitsim import NgspiceSession
session = NgspiceSession()
print(session._process.pid, flush=True)
netlist = "* busy\\nvin_0 a 0 external\\nr1 a 0 1\\nvindex b 0 dc 0\\nrindex b 0 1\\n.end\\n"
session.sweep(netlist, ["vin_0"], np.ones((5_000_000, 1)))
"""


def test_a_busy_worker_ends_with_its_caller():
    with subprocess.Popen(
        [sys.executable, "-c", BUSY_CALLER], stdout=subprocess.PIPE, text=True
    ) as caller:
        assert caller.stdout is not None
        worker = Path("/proc") / caller.stdout.readline().strip()
        time.sleep(3.0)  # into the sweep, which takes minutes
        assert worker.exists()
        caller.kill()
    give_up = time.monotonic() + 20.0
    while worker.exists() and time.monotonic() < give_up:
        time.sleep(0.1)
    assert not worker.exists()


def test_a_transient_starts_where_ic_says_and_ends_where_it_was_asked_to(session):
    deck = "* discharge\nr1 a 0 1000.0\nc1 a 0 1e-9\n.ic v(a)=2.0\n.options reltol=1e-6\n.end\n"
    found = session.transient(deck, step=1e-8, stop=2e-6)
    assert found["time"][-1] == pytest.approx(2e-6)
    assert_close(found["a"], 2.0 * np.exp(-found["time"] / 1e-6), 1e-5)
    with pytest.raises(NgspiceError):
        session.transient(deck.replace("c1", "c1 a 0 {undefined}\nc2"), step=1e-8, stop=2e-6)


def test_a_process_that_loads_nothing_any_more_is_replaced(session, monkeypatch):
    """Seen after some sequences of circuits: a library section is then read as nothing."""
    real, asked = session._reply_to, []

    def reply(request, timeout):
        asked.append(session._process.pid if session._process else None)
        nothing = {"error": "Error: there aren't any circuits loaded."}
        return nothing if len(asked) == 1 else real(request, timeout)

    monkeypatch.setattr(session, "_reply_to", reply)
    found = session.sweep(DIVIDER, ["vin_0"], np.ones((1, 1)))["vectors"]["b"]
    assert found == [0.75] and asked[0] is not None and asked[1] is None

    monkeypatch.setattr(session, "_reply_to", lambda *_: {"error": "aren't any circuits loaded"})
    with pytest.raises(NgspiceError, match="circuits loaded"):
        session.sweep(DIVIDER, ["vin_0"], np.ones((1, 1)))


@pytest.mark.ngspice
@pytest.mark.parametrize("said", ["", "doAnalyses: iteration limit reached"])
def test_a_sweep_that_stopped_before_its_end_is_refused(monkeypatch, said):
    session = default_session()
    reply = {"vectors": {"a": np.zeros(3), "time": np.array([0.0, 0.5])}, "klu": True, "said": said}
    monkeypatch.setattr(session, "_ask", lambda *_: reply)
    with pytest.raises(NgspiceError, match=said or "stopped before its end"):
        session.sweep("", ["vin"], np.zeros((4, 1)))
    with pytest.raises(NgspiceError, match=said or "stopped before the end"):
        session.transient("", step=0.1, stop=1.0)
    reply["vectors"] = {"a": np.zeros(4)}
    assert session.sweep("", ["vin"], np.zeros((4, 1))) is reply
