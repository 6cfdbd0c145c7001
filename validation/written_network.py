"""A network on chips written in several ways, as a study of its own."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from circuitsim import Writing
from netlists import InputError, TileSpec, Wires
from nnmap import Chip, Fidelity, MappingPlan, accuracy
from nnmap.measures.measure import Accuracy
from validation.condition import Condition
from validation.files.write_file import WriteFile, WrittenNetworkSection
from validation.runner import mapped_network
from validation.sources import OfCatalogue, identify
from validation.statistics import Interval, t_interval
from validation.study import Study

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, kw_only=True)
class WrittenNetwork:
    """perfect: accuracy with every device on its level.  accuracies: over chips, per writing."""

    perfect: float
    accuracies: tuple[Interval, ...]


def written_network(
    config: WriteFile,
    section: WrittenNetworkSection,
    writings: Sequence[Writing],
    *,
    progress: Progress,
) -> WrittenNetwork:
    """The network at IDEAL on chips whose devices were written in each way.

    Chip k has the same devices in every way of writing. Chips are kept in the file's folder, so
    that an interrupted run continues. Raises InputError where levels are no whole bits.
    """
    bits = config.write.levels.bit_length() - 1
    if 2**bits != config.write.levels:
        raise InputError(
            f"write.levels = {config.write.levels} is no power of 2, and a network's devices "
            "hold whole bits; choose 2, 4, 8, 16 ... levels."
        )
    source = OfCatalogue(name=section.name)
    wires = Wires(r_row_segment=0.0, r_col_segment=0.0)  # IDEAL knows no wires
    plan = MappingPlan(
        spec=TileSpec(rows=section.rows, cols=section.cols, wires=wires, cell=config.cell.build()),
        weight_bits=section.weight_bits,
        device_bits=bits,
        encoding=section.encoding,
    )
    identity = identify(source)
    study = Study(
        name=config.name,
        conditions=tuple(
            Condition(
                network=identity,
                plan=plan,
                chip=Chip(variation=(writing,), seed=config.array.seed),
                fidelity=Fidelity.IDEAL,
                measure=Accuracy(),
                images=section.test_images,
                axes={"writing": k},
            )
            for k, writing in enumerate(writings)
        ),
        sources={identity: source},
        chips=section.chips,
    )
    results = study.run(config.run.out, progress=progress)
    frame = results.table()
    if frame["error"].drop_nulls().len():
        raise InputError(f"a written chip failed: {frame['error'].drop_nulls()[0]}")
    values = [
        frame.filter(frame["writing"] == k)["accuracy"].to_list() for k in range(len(writings))
    ]
    data = source.data()
    images = section.test_images or len(data.test_x)
    perfect = accuracy(
        mapped_network(source, plan).on().float(), data.test_x[:images], data.test_y[:images]
    )
    return WrittenNetwork(perfect=perfect, accuracies=tuple(t_interval(v) for v in values))
