"""A study: conditions measured on the same chips, in Python or from a TOML file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from netlists.errors import InputError
from nnmap.training.device import torch_device
from validation.campaign.backends import Backend, Scheduler, Serial, Workers
from validation.campaign.run import Summary, run_campaign
from validation.campaign.store import Draw, Store
from validation.campaign.task import Task, Versions
from validation.condition import Condition, require_unchanged_cells
from validation.pilot import images_wanted
from validation.precision import Precision, StopWhenPrecise
from validation.runner import TaskRunner
from validation.sources import NetworkIdentity, Source
from validation.statistics import Interval, t_interval
from validation.table import Table

STORE = "results.sqlite"
# Opens a progress display: (title, total) -> a context giving "this many more are done".
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def silent(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """The progress display that shows nothing."""
    yield lambda more: None


def backend_of(*, workers: int = 1, threads: int = 1, scheduler: str | None = None) -> Backend:
    """Where tasks run: this process, processes of its own, or a cluster that others run."""
    if scheduler is not None:
        return Scheduler(address=scheduler)
    return Serial() if workers == 1 else Workers(n=workers, threads=threads)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Conditions on the same chips: chip k is the same in all of them.

    name: of its folder, none of whose parents it names.  conditions: what is compared.
    sources: where the conditions' networks come from.
    chips: of each condition; with a precision its own numbers of chips count.
    precision: when a condition has been measured well enough, of its measure's main quantity; None
        for exactly `chips`.

    Raises InputError for a name that is no folder's, without conditions, below two chips, where two
    conditions are one, and where measures that compare different quantities meet a precision.
    """

    name: str
    conditions: tuple[Condition, ...]
    sources: Mapping[NetworkIdentity, Source] = field(repr=False)
    chips: int = 8
    precision: Precision | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "conditions", tuple(self.conditions))
        if self.name in ("", ".", "..") or set(self.name) & set("/\\\0"):
            raise InputError(
                f"name={self.name!r}: a study is named like a folder in its out, without / and \\."
            )
        if not self.conditions:
            raise InputError(f"the study {self.name!r} has no conditions, so that nothing runs.")
        if self.chips < 2:
            raise InputError(f"chips={self.chips}: an interval takes at least 2.")
        for condition in self.conditions:
            if condition.network not in self.sources:
                raise InputError(f"the network {condition.network.name!r} has no source.")
        seen: dict[str, Condition] = {}
        for task in self._tasks(Versions.here(), numbers=range(1)):
            if task.condition_id in seen:
                raise InputError(
                    f"two conditions are the same: {told(seen[task.condition_id])} and "
                    f"{told(task.condition)}; drop one."
                )
            seen[task.condition_id] = task.condition
        if self.precision is not None and len({c.measure.main for c in self.conditions}) > 1:
            raise InputError("a precision is asked of one quantity, and the measures have several.")

    @property
    def quantity(self) -> str:
        """The main number of the first condition's measure."""
        return self.conditions[0].measure.main

    def _tasks(self, versions: Versions, *, numbers: range | None = None) -> Iterator[Task[Any]]:
        """Chip by chip, so that all conditions have the first chips first."""
        if numbers is None:
            numbers = range(self.chips)
        for number in numbers:
            for condition in self.conditions:
                yield Task(condition=condition, number=number, versions=versions)

    def tasks(self) -> list[Task[Any]]:
        """All tasks that a run may take, with the versions of this process."""
        most = self.chips if self.precision is None else self.precision.max_chips
        return list(self._tasks(Versions.here(), numbers=range(most)))

    def run(
        self,
        out: str | Path,
        *,
        workers: int = 1,
        threads: int = 1,
        scheduler: str | None = None,
        device: str = "cpu",
        progress: Progress = silent,
    ) -> "Results":
        """Measure what the folder `out / name` does not hold yet.

        threads: that torch may use in each process.  scheduler: address of a cluster in place of
        own processes.  device: where torch computes.
        A chip that fails is kept as a failure, and the run goes on; the next run tries it again. A
        cell's file that is edited meanwhile ends it: what follows would be of another cell.
        Raises InputError when the folder cannot be written, for a device that is not there, and
        when the scheduler cannot be reached.
        """
        if scheduler is None:  # a cluster's devices are not this machine's
            torch_device(device)
        folder = Path(out) / self.name
        backend = backend_of(workers=workers, threads=threads, scheduler=scheduler)
        runner = TaskRunner(sources=dict(self.sources), threads=threads, device=device)
        with Store(folder / STORE) as store, backend.opened() as opened:
            sized = self._with_images(runner, store, opened, progress)
            tasks = sized.tasks()
            with progress("chips", len(tasks)) as done:
                summary = run_campaign(
                    tasks,
                    runner,
                    store,
                    backend=opened,
                    stop=sized.stop_rule(),
                    guard=lambda: require_unchanged_cells(self.conditions),
                    on_done=done,
                )
        return Results(study=sized, folder=folder, summary=summary)

    def results(self, out: str | Path) -> "Results":
        """What the folder holds of this study, nothing run."""
        return Results(study=self, folder=Path(out) / self.name, summary=None)

    def stop_rule(self) -> StopWhenPrecise | None:
        """What ends a condition early; None without a precision."""
        if self.precision is None:
            return None
        return StopWhenPrecise(precision=self.precision, quantity=self.quantity)

    def _with_images(
        self, runner: TaskRunner, store: Store, backend: Backend, progress: Progress
    ) -> "Study":
        """With a precision and no number of images, the images per chip that a pilot advises."""
        if self.precision is None or any(c.images for c in self.conditions):
            return self
        wanted = images_wanted(
            self.conditions,
            self.precision,
            runner,
            store,
            backend,
            quantity=self.quantity,
            progress=progress,
        )
        return replace(self, conditions=tuple(replace(c, images=wanted) for c in self.conditions))


def told(condition: Condition) -> str:
    """What sets a condition apart, in words."""
    return ", ".join(f"{k} = {v}" for k, v in condition.axes.items()) or condition.network.name


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """What is known of a study.

    folder: where its store is.  summary: of the run that led here, None where none did.
    """

    study: Study
    folder: Path
    summary: Summary | None

    def long_table(self) -> Table:
        """A row per chip that counts; see `Table`. Raises InputError when there is none."""
        with Store(self.folder / STORE, create=False) as store:
            return Table.of(self._counted(store))

    def keep(self, store: Store) -> None:
        """Note in the store which rows count and by what, for those who have the store alone."""
        store.set_meta("counted", [draw.id for draw in self._counted(store)])
        store.set_meta("quantity", self.study.quantity)
        store.set_meta("versions", asdict(Versions.here()))
        precision = self.study.precision
        store.set_meta("precision", None if precision is None else asdict(precision))

    def _counted(self, store: Store) -> list[Draw]:
        """The rows of the study, less chips beyond the one at which a precision was reached."""
        draws = store.draws(self.study.tasks())
        rule = self.study.stop_rule()
        if rule is None:
            return draws
        counted = set()
        for condition in dict.fromkeys(draw.condition_id for draw in draws):
            some = [draw for draw in draws if draw.condition_id == condition]
            good = [(d.id, d.result.values) for d in some if d.result.values is not None]
            last = rule.chips([values for _, values in good])
            counted |= {key for key, _ in good[: last or len(good)]}
            counted |= {draw.id for draw in some if draw.result.values is None}
        return [draw for draw in draws if draw.id in counted]

    def table(self) -> Any:
        """The same as a polars DataFrame."""
        return self.long_table().frame

    def interval(self, values: Sequence[float]) -> Interval:
        """Of a condition's chips, by the rule that ended their measurement."""
        precision = self.study.precision
        return t_interval(values) if precision is None else precision.interval(values)

    def summarise(self, quantities: Sequence[str] | None = None) -> Any:
        """Mean and interval per condition and quantity, as a polars DataFrame."""
        names = [self.study.quantity] if quantities is None else quantities
        return self.long_table().summarise(names, interval=lambda values: self.interval(values))

    def compare(
        self,
        a: Mapping[str, Any],
        b: Mapping[str, Any],
        *,
        pair: str = "chip",
        quantity: str | None = None,
        margin: float = 0.0,
    ) -> Any:
        """The paired difference of two settings on the same chips; see `Table.compare`."""
        return self.long_table().compare(
            a,
            b,
            quantity=quantity or self.study.quantity,
            pair="number" if pair == "chip" else pair,
            margin=margin,
        )


def counted_table(store: Store) -> Table:
    """The table of the study that a store was last run for, without the study.

    Raises InputError when the store holds none.
    """
    counted = store.meta("counted")
    if counted is None:
        raise InputError(f"{store.path} holds no finished study; run it again.")
    by_id = {draw.id: draw for draw in store.draws()}
    return Table.of(by_id[key] for key in counted if key in by_id)


def precision_kept(store: Store) -> Precision | None:
    """The precision of that study."""
    kept = store.meta("precision")
    return None if kept is None else Precision(**kept)
