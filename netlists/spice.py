"""Circuit -> SPICE text. Number formatting and dialect quirks live here only.

Traps that shaped it (observed on ngspice 39 and 46): `1M` is milli, so numbers carry no suffix;
names fold to lower case, so only lower case is written; line 1 is the title; a title or comment
with the word "error" is taken for one by libraries that read the log.
"""

from pathlib import Path
from typing import IO

import numpy as np

from netlists.circuit import Circuit, Subckts
from netlists.devices import DeviceCard
from netlists.errors import InputError
from netlists.transistors import Nmos

DIALECTS = ("ngspice",)

# Tolerances for circuits that are not linear; a linear circuit is solved in one step without them.
NONLINEAR_OPTIONS = "reltol=1e-6 abstol=1e-15 vntol=1e-9 gmin=1e-18"
# A sinh has all its derivatives: one more step costs little and brings many digits.
MEMORY_OPTIONS = "reltol=1e-9 abstol=1e-15 vntol=1e-12 gmin=1e-18"


def _number(value: float) -> str:
    """Shortest text that reads back as the same double."""
    return repr(float(value))


def _elements(circuit: Circuit, *, vector: int | None) -> list[str]:
    nodes = circuit.nodes
    r, s, m = circuit.resistors, circuit.sources, circuit.mosfets
    lines = [
        f"{name} {nodes[a]} {nodes[b]} {ohm!r}"
        for name, a, b, ohm in zip(r.names, r.a.tolist(), r.b.tolist(), r.r.tolist(), strict=True)
    ]
    if m is not None:
        size = f"w={_number(m.card.w)} l={_number(m.card.l)}"
        # Start from channels that conduct: level 1 starts from off, and what hangs on transistors
        # alone then floats in the first step.
        held = dict(
            zip(s.plus.tolist(), s.v[0 if vector is None else vector].tolist(), strict=True)
        )
        lines += [
            f"{name} {nodes[d]} {nodes[g]} {nodes[src]} 0 access {size}"
            + (f" ic=0,{held[g]!r},0" if g in held else "")
            for name, d, g, src in zip(
                m.names, m.drain.tolist(), m.gate.tolist(), m.source.tolist(), strict=True
            )
        ]
        lines += transistor_card(m.card)
    if circuit.memories is not None:
        lines += _memories(circuit)
    if circuit.subckts is not None:
        lines += _subckts(circuit.subckts, nodes)
    inputs = set(circuit.layout.inputs.tolist())
    volts = s.v[0 if vector is None else vector].tolist()
    for k, (name, plus, minus) in enumerate(
        zip(s.names, s.plus.tolist(), s.minus.tolist(), strict=True)
    ):
        value = "external" if vector is None and k in inputs else f"dc {volts[k]!r}"
        lines.append(f"{name} {nodes[plus]} {nodes[minus]} {value}")
    return lines


def transistor_card(nmos: Nmos) -> list[str]:
    """The model line of the access transistors."""
    card = " ".join(f"{key}={_number(value)}" for key, value in nmos.parameters().items())
    return [f".model access nmos (level={nmos.level} {card})"]


def subcircuit(card: DeviceCard) -> list[str]:
    """The lines of a device's subcircuit."""
    arguments = " ".join(f"{key}={_number(value)}" for key, value in card.arguments.items())
    constants = (f".param {key}={_number(value)}" for key, value in card.constants.items())
    head = f".subckt {card.name} {' '.join(card.ports)} {arguments}"
    return [head, *constants, *card.elements, ".ends"]


def _memories(circuit: Circuit) -> list[str]:
    """The memories' card and one instance each."""
    m, nodes = circuit.memories, circuit.nodes
    assert m is not None
    card = m.card.read_card()
    return [
        *subcircuit(card),
        *(
            f"{name} {nodes[a]} {nodes[b]} {card.name} g={g!r}"
            for name, a, b, g in zip(m.names, m.a.tolist(), m.b.tolist(), m.g.tolist(), strict=True)
        ),
    ]


def _subckts(cells: Subckts, nodes: tuple[str, ...]) -> list[str]:
    """The user's file, included, and one instance per cell."""
    card = cells.card
    ends = [[nodes[k] for k in cells.ends[role].tolist()] for role in card.nodes]
    names = list(cells.parameters)
    states = zip(*(values.tolist() for values in cells.parameters.values()), strict=True)
    return [
        f'.lib "{card.path}" {card.section}' if card.section else f'.include "{card.path}"',
        *(
            " ".join(
                [name, *at, card.name.lower()]
                + [f"{key}={value!r}" for key, value in zip(names, state, strict=True)]
            )
            for name, at, state in zip(cells.names, zip(*ends, strict=True), states, strict=True)
        ),
    ]


def _osdi(circuit: Circuit) -> list[str]:
    """A control block of its own: `pre_` commands run before the netlist is read."""
    if circuit.osdi is None:
        return []
    return [".control", f"pre_osdi {circuit.osdi}", ".endc"]


def solver_options(circuit: Circuit, *, klu: bool = True) -> str:
    """The `.options` line for this circuit, or "" where ngspice's defaults do."""
    words = ["klu"] if klu else []
    if circuit.mosfets is not None or circuit.subckts is not None:
        words.append(NONLINEAR_OPTIONS)
    elif circuit.memories is not None:
        words.append(MEMORY_OPTIONS)
    return f".options {' '.join(words)}" if words else ""


def to_spice(circuit: Circuit, *, dialect: str = "ngspice", vector: int = 0) -> str:
    """A complete netlist of one input vector that `ngspice -b` runs and prints currents for.

    Raises InputError on an unknown dialect or a vector that the circuit does not have.
    """
    if dialect not in DIALECTS:
        raise InputError(f"dialect={dialect!r} is not one of {', '.join(DIALECTS)}.")
    if not 0 <= vector < circuit.batch:
        raise InputError(f"vector={vector} is not one of the circuit's {circuit.batch} inputs.")
    sensed = [circuit.sources.names[k] for k in circuit.layout.outputs.tolist()]
    lines = [
        f"* {circuit.title}, input {vector + 1} of {circuit.batch}",
        *_osdi(circuit),
        *_elements(circuit, vector=vector),
        solver_options(circuit),
        ".control",
        "set numdgt=16",
        "op",
        *(f"print i({name})" for name in sensed),
        "quit",
        ".endc",
        ".end",
    ]
    return "\n".join(lines) + "\n"


def to_spice_deck(circuit: Circuit, *, klu: bool = True) -> str:
    """The netlist for a library session that feeds the row voltages itself.

    The session loads `circuit.osdi` before.
    Row sources are declared `external`; an index source carries the sweep over input vectors.
    """
    lines = [
        f"* {circuit.title}, {circuit.batch} inputs",
        *_elements(circuit, vector=None),
        "vindex index 0 dc 0",
        "rindex index 0 1.0",
        solver_options(circuit, klu=klu),
        ".end",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def write_spice(
    circuit: Circuit, file: str | Path | IO[str], dialect: str = "ngspice", *, vector: int = 0
) -> None:
    """Write `to_spice` to a path or an open text stream."""
    text = to_spice(circuit, dialect=dialect, vector=vector)
    if isinstance(file, str | Path):
        Path(file).write_text(text)
    else:
        file.write(text)


def read_printed_currents(output: str, names: tuple[str, ...]) -> np.ndarray:
    """Currents that `ngspice -b` printed for the named sources, A, in the order of `names`.

    Raises InputError naming the first source whose current is not in the output.
    """
    printed = {}
    for line in output.splitlines():
        left, equals, right = line.partition("=")
        if equals and left.strip().startswith("i("):
            printed[left.strip()[2:-1]] = float(right)
    for name in names:
        if name not in printed:
            raise InputError(f"ngspice printed no current for {name}:\n{output[-2000:]}")
    return np.array([printed[name] for name in names])
