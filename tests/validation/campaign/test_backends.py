import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from netlists.errors import InputError
from tests.validation.campaign.conditions import Logged, failing_on_odd, measured, tasks
from validation.campaign.backends import Scheduler, Workers
from validation.campaign.run import run_campaign
from validation.campaign.store import Store
from validation.campaign.task import Versions


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "results.sqlite") as opened:
        yield opened


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def all_there(store, todo):
    return all(store.get(todo)[task.id].values == measured(task) for task in todo)


@dataclass(frozen=True)
class Environment:
    """A runner that tells where it runs."""

    name: str

    def __call__(self, task):
        time.sleep(0.1)
        return {"pid": os.getpid(), "value": os.environ.get(self.name, "")}


def test_own_processes_run_campaigns_and_survive_the_death_of_one(store, log):
    todo = tasks(chips=12)
    with Workers(n=2).opened() as workers:
        listening = {
            connection.laddr.ip
            for process in (psutil.Process(), *psutil.Process().children(recursive=True))
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        runner = Logged(log, seconds=0.02, kills=5)
        summary = run_campaign(todo, runner, store, backend=workers)
        assert (summary.ran, summary.failed) == (12, 0) and all_there(store, todo)
        assert runner.calls()["0.1-5"] == 2

        odd = tasks(rates=(0.3,), chips=4)
        assert run_campaign(odd, failing_on_odd, store, backend=workers).failed == 2
        assert run_campaign(odd, measured, store, backend=workers).ran == 2

        told = [r.values for _, r in workers.outcomes(Environment("OMP_NUM_THREADS"), todo)]
        assert {values["value"] for values in told} == {"1"}
        assert len({values["pid"] for values in told} - {os.getpid()}) == 2
    assert not psutil.Process().children(recursive=True) or all(
        "spawn_main" not in " ".join(child.cmdline())
        for child in psutil.Process().children(recursive=True)
    )


INTERRUPTED = """
import sys
from pathlib import Path
from tests.validation.campaign.conditions import Logged, tasks
from validation.campaign.backends import Workers
from validation.campaign.run import run_campaign
from validation.campaign.store import Store
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with Store(folder / "results.sqlite") as store:
        runner = Logged(folder / "log", seconds=0.1)
        try:
            run_campaign(tasks(chips=500), runner, store, backend=Workers(n=2),
                         on_done=lambda n: print(n, flush=True))
        except KeyboardInterrupt:
            sys.exit(130)
"""


def test_ctrl_c_keeps_what_had_finished_and_ends_the_processes(tmp_path, log):
    program = tmp_path / "program.py"
    program.write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, program, tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        # As in a terminal, even where these tests run in the background of a shell.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    for _ in range(8):
        assert process.stdout.readline()
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in errors
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    reported = 7 + sum(map(int, output.split()))
    with Store(tmp_path / "results.sqlite") as store:
        assert reported <= len(store.draws()) < 500
        todo = tasks(chips=500)
        found = store.get(todo)
        assert all(found[t.id].values == measured(t) for t in todo if t.id in found)


# A cluster that somebody else runs


def dask(folder, *arguments):
    command = [sys.executable, "-m", "dask", *map(str, arguments), "--no-dashboard"]
    errors = (folder / f"{arguments[0]}.log").open("a")
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=errors, stderr=errors, env={**os.environ, **paths})


def address_in(file):
    deadline = time.monotonic() + 20
    while not (file.exists() and file.read_text().endswith("}")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return json.loads(file.read_text())["address"]


@pytest.fixture
def cluster(tmp_path):
    """A scheduler's address and two worker processes, which nobody starts again."""
    file = tmp_path / "scheduler.json"
    started = [dask(tmp_path, "scheduler", "--host", "127.0.0.1", "--port", 0,
                    "--scheduler-file", file)]  # fmt: skip
    for name in "ab":
        started.append(dask(tmp_path, "worker", "--scheduler-file", file, "--nthreads", 1,
                            "--no-nanny", "--host", "127.0.0.1", "--name", name,
                            "--local-directory", tmp_path / name))  # fmt: skip
    yield address_in(file), started[1:], started[0]
    for process in started:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Killing:
    """Kills a process when so many tasks are done."""

    process: subprocess.Popen
    at: int

    def __call__(self, settled, seen=[]):  # noqa: B006
        seen.append(settled)
        if sum(seen) == self.at:
            self.process.kill()


def test_a_cluster_of_others_loses_a_worker_and_no_result(cluster, store, log):
    address, (first, _), scheduler = cluster
    todo = tasks(chips=40, versions=Versions.here())
    backend = Scheduler(address=address, timeout=20)
    runner = Logged(log, seconds=0.05)
    summary = run_campaign(todo, runner, store, backend=backend, on_done=Killing(first, 20))
    assert first.wait() == -signal.SIGKILL
    assert (summary.ran, summary.failed) == (40, 0) and all_there(store, todo)
    assert sum(runner.calls().values()) <= 40 + 4  # what the dead one had under way runs again

    other = tasks(rates=(0.7,), chips=2)  # of versions that no worker has
    strange = run_campaign(other, measured, store, backend=backend)
    assert strange.failed == 2 and "has program" in str(strange) and "install" in str(strange)

    more = tasks(rates=(0.8,), chips=200, versions=Versions.here())
    backend = Scheduler(address=address, timeout=2)
    with pytest.raises(InputError, match=f"{address} went away; what was finished is kept"):
        run_campaign(more, runner, store, backend=backend, on_done=Killing(scheduler, 80))
    assert len(store.draws()) >= 40 + 2


def test_a_scheduler_without_workers_is_one_sentence(tmp_path):
    file = tmp_path / "scheduler.json"
    process = dask(tmp_path, "scheduler", "--host", "127.0.0.1", "--port", 0,
                   "--scheduler-file", file)  # fmt: skip
    address = address_in(file)
    with pytest.raises(InputError, match=f"{address} has no worker after 1 s; start some"):
        list(Scheduler(address=address, timeout=1).outcomes(measured, tasks()))
    process.kill()
    process.wait()


def test_schedulers_that_nobody_runs_are_one_sentence(store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        for where, message in (
            (address, "no scheduler answers at t.* within 0.3 s"),
            ("tcp://127.0.0.1", "no scheduler answers"),
            ("tcp://127.0.0.1:port", "no scheduler answers"),
            (address.replace("tcp", "tls"), "needs certificates"),
        ):
            with pytest.raises(InputError, match=message):
                run_campaign(
                    tasks(), measured, store, backend=Scheduler(address=where, timeout=0.3)
                )
    with pytest.raises(InputError, match="tcp://HOST:PORT or tls"):
        Scheduler(address="localhost:8786")
    with pytest.raises(InputError, match="at least 1 process"):
        Workers(n=0)
    assert not Path("dask-worker-space").exists()
