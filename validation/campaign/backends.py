"""Where tasks run: in this process, in processes of our own, on a cluster that somebody else runs.

Every backend takes tasks one by one as it has room for them, so that a campaign can end early, and
gives each back with its result in the order in which they finish. An exception of the runner is a
result; the loss of a worker process costs a retry.

What dask needs to behave was measured: keys with a prefix (see `Task.key`), a window of few tasks
per thread instead of the whole campaign at once, no work stealing, more allowed failures than the
usual 3, since a killed worker's whole queue counts as suspicious.
"""

import logging
import signal
import socket
import threading
import time
from asyncio import CancelledError
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from netlists.errors import InputError
from validation.campaign.task import Failure, Result, Runner, Task, Versions

Outcomes = Generator[tuple[Task[Any], Result], None, None]
WINDOW = 3  # tasks in flight per thread
ALLOWED_FAILURES = 6
POLL, TEND = 0.01, 2.0  # seconds between looks for results, and after the workers
_SETTINGS = {
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
}


class Backend(Protocol):
    """Runs tasks somewhere."""

    def outcomes(self, runner: Runner, tasks: Iterable[Task[Any]]) -> Outcomes:
        """The tasks with what came of them, as they finish; taken from `tasks` as room appears."""
        ...

    def opened(self) -> AbstractContextManager["Backend"]:
        """The backend with its processes started once, for several calls of `outcomes`."""
        ...


def attempt(runner: Runner, task: Task[Any]) -> Result:
    """What comes of a task here; an exception becomes a failure."""
    start = time.perf_counter()
    try:
        return Result(values=runner(task), seconds=time.perf_counter() - start)
    except Exception as problem:
        return Result(failure=Failure.of(problem), seconds=time.perf_counter() - start)


def attempt_elsewhere(runner: Runner, task: Task[Any]) -> Result:
    """`attempt` on a machine of somebody else's; versions other than the task's are a failure."""
    differences = Versions.here().differences(task.versions)
    if differences:
        problem = f"the worker on {socket.gethostname()} has {differences}; install the same there."
        return Result(failure=Failure(kind="InputError", message=problem))
    return attempt(runner, task)


@dataclass(frozen=True, kw_only=True)
class Serial:
    """In this process, one after the other."""

    def outcomes(self, runner: Runner, tasks: Iterable[Task[Any]]) -> Outcomes:
        """The tasks in their order."""
        for task in tasks:
            yield task, attempt(runner, task)

    def opened(self) -> AbstractContextManager[Backend]:
        """Itself."""
        return nullcontext(self)


@dataclass(frozen=True, kw_only=True)
class Workers:
    """In `n` processes of our own, one task at a time in each, encrypted and on loopback only.

    threads: of torch and BLAS in each process. One is right unless cores are to spare: a second
    busy process makes two-thread torch 10 to 40 times slower (measured).
    The runner and the conditions are pickled with every task; keep both small.
    Raises InputError for less than one process or thread.
    """

    n: int
    threads: int = 1

    def __post_init__(self) -> None:
        if self.n < 1 or self.threads < 1:
            raise InputError(
                f"a campaign needs at least 1 process of 1 thread, got {self.n} of {self.threads}."
            )

    def outcomes(self, runner: Runner, tasks: Iterable[Task[Any]]) -> Outcomes:
        """The tasks as they finish; starts and ends the processes."""
        with self.opened() as cluster:
            yield from cluster.outcomes(runner, tasks)

    @contextmanager
    def opened(self) -> Iterator[Backend]:
        """The processes, running until the block ends."""
        import dask
        from distributed import Client, LocalCluster, Security

        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        # Dask's own environment also sets MALLOC_TRIM_THRESHOLD_, which makes glibc map every
        # large array afresh: three times slower here.
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        environment = {"distributed.nanny.pre-spawn-environ": dict.fromkeys(names, self.threads)}
        security = Security.temporary()
        with _interrupts_ignored(), dask.config.set({**_SETTINGS, **environment}):
            cluster = LocalCluster(
                n_workers=self.n,
                threads_per_worker=1,
                host="127.0.0.1",
                protocol="tls://",
                security=security,
                dashboard_address="127.0.0.1:0",  # any free port, silently
                memory_limit=None,  # else dask pauses and kills workers by its own estimate
                silence_logs=logging.CRITICAL,
            )
        with cluster, Client(cluster, security=security, set_as_default=False) as client:

            def tend() -> None:
                # dask does not start a process again that dies in its first milliseconds
                if len(client.scheduler_info().get("workers", {})) < self.n:
                    cluster.scale(self.n)

            where = "the cluster of this process"
            yield _Connected(client=client, where=where, call=attempt, tend=tend)


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """On the workers of a dask scheduler that somebody else runs.

    address: tcp://HOST:PORT, or tls://HOST:PORT with the certificates that dask's configuration
    names (DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ...__CLIENT__CERT, ...__CLIENT__KEY).
    timeout: seconds to wait for the scheduler, and then for its first worker.
    Workers must have this program and the versions that the tasks state: a task on another one is
    a failure that says so. Start the scheduler with
    DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING=False and
    DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=6, and workers with one thread each.
    Raises InputError for another kind of address; using it raises InputError when nobody answers.
    """

    address: str
    timeout: float = 10.0

    def __post_init__(self) -> None:
        if not self.address.startswith(("tcp://", "tls://")):
            raise InputError(
                f"a scheduler's address is tcp://HOST:PORT or tls://HOST:PORT, got "
                f"{self.address!r}."
            )

    def outcomes(self, runner: Runner, tasks: Iterable[Task[Any]]) -> Outcomes:
        """The tasks as they finish."""
        with self.opened() as cluster:
            yield from cluster.outcomes(runner, tasks)

    @contextmanager
    def opened(self) -> Iterator[Backend]:
        """The connection, until the block ends."""
        from distributed import Client, Security

        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        encrypted = self.address.startswith("tls://")
        if encrypted and not Security().get_connection_args("client")["ssl_context"]:
            raise InputError(
                f"{self.address} needs certificates and dask's configuration names none; set "
                "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ...__CLIENT__CERT and ...__CLIENT__KEY."
            )
        self._knock()  # a client that found nobody complains once more when it is collected
        try:
            client = Client(self.address, timeout=self.timeout, set_as_default=False)
        except (OSError, ValueError, TypeError) as problem:
            raise self._silent(problem) from None
        with client:
            try:
                client.wait_for_workers(1, timeout=self.timeout)
            except TimeoutError:
                raise InputError(
                    f"the scheduler at {self.address} has no worker after {self.timeout:g} s; "
                    f"start some with `dask worker {self.address} --nthreads 1`."
                ) from None
            where = f"the scheduler at {self.address}"
            yield _Connected(client=client, where=where, call=attempt_elsewhere)

    def _knock(self) -> None:
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                place = urlsplit(self.address)
                with socket.create_connection((place.hostname, place.port or 0), self.timeout):
                    return
            except (OSError, ValueError) as problem:
                if time.monotonic() > deadline:
                    raise self._silent(problem) from None
            time.sleep(min(0.2, self.timeout))

    def _silent(self, problem: Exception) -> InputError:
        return InputError(
            f"no scheduler answers at {self.address} within {self.timeout:g} s "
            f"({problem or type(problem).__name__}); start one with `dask scheduler` or check the "
            "address."
        )


@dataclass(frozen=True, kw_only=True)
class _Connected:
    """A cluster with a connection to it.

    call: what a worker does with runner and task.  tend: called now and then while waiting.
    """

    client: Any
    where: str
    call: Callable[[Runner, Task[Any]], Result]
    tend: Callable[[], None] = lambda: None

    def opened(self) -> AbstractContextManager[Backend]:
        return nullcontext(self)

    def outcomes(self, runner: Runner, tasks: Iterable[Task[Any]]) -> Outcomes:
        from distributed import as_completed

        source = iter(tasks)
        waiting: dict[str, tuple[Task[Any], Any]] = {}
        finished = as_completed(loop=self.client.loop)

        def refill() -> None:
            self._require_running()
            for task in islice(source, max(0, self._window() - len(waiting))):
                future = self.client.submit(self.call, runner, task, key=task.key, pure=True)
                waiting[task.key] = task, future
                finished.add(future)

        try:
            refill()
            while waiting:
                future = self._next(finished)
                task, _ = waiting.pop(future.key)
                result = self._result(future)
                future.release()
                yield task, result
                refill()
        finally:
            for _, future in waiting.values():
                future.release()

    def _next(self, finished: Any) -> Any:
        tended = time.monotonic()
        while not finished.has_ready():
            self._require_running()
            time.sleep(POLL)
            if time.monotonic() > tended + TEND:
                self.tend()
                tended = time.monotonic()
        return next(finished)

    def _require_running(self) -> None:
        # A connection that was lost cancels what it had under way, even where it comes back, but
        # nothing that is handed over meanwhile: that would be waited for without end.
        if self.client.status != "running":
            raise self._gone()

    def _window(self) -> int:
        # the connection's own last view, which costs no message: workers come and go
        workers: Mapping[str, Any] = self.client.scheduler_info().get("workers", {})
        return WINDOW * max(1, sum(int(worker["nthreads"]) for worker in workers.values()))

    def _result(self, future: Any) -> Result:
        while True:
            try:
                result = future.result(timeout=TEND)
            except TimeoutError:  # its worker died with it: it is computed again
                self.tend()
            except CancelledError:
                raise self._gone() from None
            except Exception as problem:  # not the runner's: workers died, or it cannot be sent
                return Result(failure=Failure.of(problem))
            else:
                return cast(Result, result)

    def _gone(self) -> InputError:
        return InputError(
            f"{self.where} went away; what was finished is kept, and the same command goes on "
            "from there."
        )


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C while worker processes start; they inherit that and leave it to the parent."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
