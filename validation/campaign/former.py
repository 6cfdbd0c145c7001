"""Tasks with stable ids, run over processes, every result kept as soon as it is there."""

import hashlib
import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from validation.store import Store, canonical


@dataclass(frozen=True, kw_only=True)
class Task:
    """One chip of one variant at one fidelity and one fault rate.

    network: SHA-256 of the trained weights.  setup: tile, cell, mapping and data sections as JSON,
    which together with the rest determine the result to the last bit.
    label: what the evaluation calls the network.
    """

    network: str
    setup: str
    label: str
    cell: str
    fidelity: str
    rate: float
    ocr: float
    chip: int
    fault_seed: int

    @property
    def id(self) -> str:
        """SHA-256 of the task's canonical JSON."""
        return hashlib.sha256(canonical(asdict(self)).encode()).hexdigest()


Runner = Callable[[Task], dict[str, Any]]


def run_campaign(
    tasks: Iterable[Task],
    runner: Runner,
    store: Store,
    *,
    workers: int,
    on_done: Callable[[int], None] = lambda finished: None,
) -> int:
    """Run what the store lacks; returns how many tasks that was.

    `on_done` hears how many more have finished. An interrupt loses only the tasks under way.
    """
    tasks = list(tasks)
    known = store.get(task.id for task in tasks)
    on_done(len(known))
    open_tasks = [task for task in tasks if task.id not in known]
    if not open_tasks:
        return 0
    if workers == 1:
        for task in open_tasks:
            store.put(task.id, asdict(task), runner(task))
            on_done(1)
        return len(open_tasks)
    _run_on_dask(open_tasks, runner, store, workers=workers, on_done=on_done)
    return len(open_tasks)


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


def _run_on_dask(
    tasks: list[Task],
    runner: Runner,
    store: Store,
    *,
    workers: int,
    on_done: Callable[[int], None],
) -> None:
    import dask
    from dask.distributed import Client, LocalCluster, as_completed

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    by_id = {task.id: task for task in tasks}
    # One thread a process: torch and BLAS slow down many-fold when processes oversubscribe cores.
    # Dask's own environment also sets MALLOC_TRIM_THRESHOLD_, which makes glibc map every large
    # array afresh: three times slower here.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 1)
    environment = dask.config.set({"distributed.nanny.pre-spawn-environ": threads})
    with _interrupts_ignored(), environment:
        cluster = LocalCluster(
            n_workers=min(workers, len(tasks)),
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",  # any free port, silently
            silence_logs=logging.CRITICAL,
        )
    with cluster, Client(cluster) as client:
        futures = [client.submit(runner, task, key=task.id, pure=True) for task in tasks]
        for future, value in as_completed(futures, with_results=True):
            store.put(future.key, asdict(by_id[future.key]), value)
            on_done(1)
            future.release()
