"""What was recorded: networks, plans and what is wrong with each chip, as data for `record`.

Every case breaks a symmetry: tiles are not square, rows and columns have other resistances, stuck
memories of the two kinds are not equally many.
"""

from collections.abc import Mapping, Sequence
from typing import Any

IDEAL, LINEAR, NONLINEAR = "ideal", "linear", "nonlinear"


def part(layer: str, *, binary: bool = False, **arguments: Any) -> dict[str, Any]:
    """A layer as `read.build` takes it."""
    return {"layer": layer, "arguments": arguments, "binary": binary}


def conv(inputs: int, outputs: int, kernel: int, **more: Any) -> dict[str, Any]:
    """A convolution."""
    return part("Conv2d", in_channels=inputs, out_channels=outputs, kernel_size=kernel, **more)


def linear(inputs: int, outputs: int, **more: Any) -> dict[str, Any]:
    """A linear layer."""
    return part("Linear", in_features=inputs, out_features=outputs, **more)


NETWORKS: dict[str, list[dict[str, Any]]] = {
    "mlp": [
        linear(30, 14),
        part("BatchNorm1d", num_features=14),
        part("ReLU"),
        linear(14, 6),
    ],
    "tanh": [linear(20, 13), part("Tanh"), linear(13, 4)],
    "binary": [
        linear(26, 18, bias=False, binary=True),
        part("BatchNorm1d", num_features=18),
        part("Sign"),
        linear(18, 12, bias=False, binary=True),
        part("BatchNorm1d", num_features=12),
        part("Sign"),
        linear(12, 5, bias=False, binary=True),
        part("BatchNorm1d", num_features=5),
    ],
    "conv": [
        conv(2, 4, 3, stride=[2, 1], padding=[1, 0]),
        part("BatchNorm2d", num_features=4),
        part("ReLU"),
        conv(4, 4, 3, padding=1, padding_mode="reflect", groups=4, bias=False),
        part("ReLU"),
        conv(4, 4, 1),
        part("ReLU"),
        conv(4, 6, 3, groups=2, dilation=[1, 2]),
        part("ReLU"),
        part("Flatten"),
        linear(18, 5),
    ],
}
SHAPES = {"mlp": (30,), "tanh": (20,), "binary": (26,), "conv": (2, 9, 7)}


# Plans -------------------------------------------------------------------------------------------

OHMIC = {"type": "OhmicRram", "r_lrs": 8e3, "r_hrs": 0.4e6}
SINH = {"type": "SinhRram", "r_lrs": 6e3, "r_hrs": 0.3e6, "v0": 0.21, "v_max": 0.5}
NMOS = {"type": "Level1Nmos", "w": 1.3e-6, "vto": 0.42}
ONE_R = {"type": "OneR", "rram": OHMIC}
BENT = {"type": "OneR", "rram": SINH}
ONE_T_ONE_R = {"type": "OneTransistorOneR", "rram": OHMIC, "nmos": NMOS, "v_gate": 1.3}
FROM_SOURCE = {**ONE_T_ONE_R, "rram": SINH, "drive_line": "SL", "gate_line": "column"}
ONE_T_TWO_R = {"type": "OneTransistorTwoR", "rram": OHMIC, "v_gate": 1.25}


def spec(rows: int, cols: int, cell: Mapping[str, Any], *, v_read: float = 0.2) -> dict[str, Any]:
    """A tile whose wires differ in every resistance."""
    wires = {
        "type": "Wires",
        "r_row_segment": 1.7,
        "r_col_segment": 2.9,
        "r_driver": 21.0,
        "r_sense": 34.0,
    }
    return {
        "type": "TileSpec",
        "rows": rows,
        "cols": cols,
        "wires": wires,
        "cell": dict(cell),
        "v_read": v_read,
    }


# Cases -------------------------------------------------------------------------------------------

# The currents of an offset column, and those of binary layers, are whole multiples of one unit. So
# would the middles between codes be at the default headroom of 1.25; here they are not.
UNEVEN = 1.237
NO_CONVERTERS: dict[str, Any] = {"dac_bits": None, "adc_bits": None}


def case(
    name: str,
    network: str,
    tile: Mapping[str, Any],
    *,
    dtype: str = "float64",
    faults: Mapping[str, Any] | None = None,
    spared: bool = False,
    varied: float = 0.0,
    defects: Mapping[str, float] | None = None,
    fidelities: Sequence[str] = (IDEAL, LINEAR),
    **plan: Any,
) -> dict[str, Any]:
    """A case as `record` takes it.

    faults: rates of each kind, and the range of stuck-at conductances, S.
    spared: whether the last column of every tile is healthy.  varied: sigma of a lognormal spread.
    defects: rates per site, lines that are bridged by their kind.
    plan: keyword values of the plan beside the tile.
    """
    return {
        "name": name,
        "network": network,
        "dtype": dtype,
        "plan": {"spec": tile, **plan},
        "faults": faults,
        "spared": spared,
        "varied": varied,
        "defects": defects,
        "fidelities": fidelities,
    }


CASES: list[dict[str, Any]] = [
    case(
        "pair-perfect",
        "mlp",
        spec(24, 20, ONE_R),
        encoding="pair",
    ),
    case(
        "pair-faults-no-converters",
        "mlp",
        spec(24, 20, ONE_R),
        faults={"lrs": 0.03, "hrs": 0.09},
        encoding="pair",
        **NO_CONVERTERS,
    ),
    case(
        "pair-float32",
        "mlp",
        spec(40, 32, ONE_R),
        dtype="float32",
        faults={"lrs": 0.02, "hrs": 0.05},
        encoding="pair",
        dac_bits=5,
        adc_bits=None,
    ),
    case(
        "offset-faults-column-range-bent",
        "mlp",
        spec(16, 10, BENT),
        faults={"lrs": 0.08, "hrs": 0.02},
        fidelities=[IDEAL, LINEAR, NONLINEAR],
        encoding="offset",
        adc_headroom=UNEVEN,
        adc_range="column",
    ),
    case(
        "offset-spared-full-range",
        "mlp",
        spec(16, 10, ONE_R),
        faults={"lrs": 0.04, "hrs": 0.1},
        spared=True,
        encoding="offset",
        adc_headroom=UNEVEN,
        offset_faults=False,
        adc_range="full",
        adc_bits=9,
    ),
    case(
        "pair-8-4-serial-transistor",
        "mlp",
        spec(24, 20, ONE_T_ONE_R),
        faults={"lrs": 0.02, "hrs": 0.06},
        encoding="pair",
        weight_bits=8,
        device_bits=4,
        inputs="serial",
        dac_bits=4,
    ),
    case(
        "offset-8-8-two-memories",
        "mlp",
        spec(16, 10, ONE_T_TWO_R),
        faults={"lrs": 0.01, "hrs": 0.04},
        fidelities=[IDEAL, LINEAR, NONLINEAR],
        encoding="offset",
        adc_headroom=UNEVEN,
        weight_bits=8,
        device_bits=8,
        adc_range="column",
        fit_inputs=5,
    ),
    case(
        "offset-4-2-serial-stuck-at",
        "mlp",
        spec(24, 20, ONE_R),
        faults={"lrs": 0.01, "hrs": 0.02, "at": 0.06, "at_range": [8e-07, 0.00031]},
        encoding="offset",
        adc_headroom=UNEVEN,
        weight_bits=4,
        device_bits=2,
        inputs="serial",
        dac_bits=3,
    ),
    case(
        "pair-8-7-varied",
        "mlp",
        spec(24, 20, ONE_R),
        varied=0.15,
        encoding="pair",
        weight_bits=8,
        device_bits=7,
        adc_range="column",
    ),
    case(
        "pair-folded-bent-secant",
        "mlp",
        spec(16, 10, BENT, v_read=0.3),
        faults={"lrs": 0.05, "hrs": 0.02},
        encoding="pair",
        fold_batch_norm=True,
        fit_inputs=0,
        dac_bits=6,
    ),
    case(
        "offset-one-layer-digital",
        "mlp",
        spec(24, 20, ONE_R),
        faults={"lrs": 0.06, "hrs": 0.03},
        varied=0.1,
        encoding="offset",
        adc_headroom=0.813,
        digital=["0"],
    ),
    case(
        "pair-open-lines-and-bridges",
        "mlp",
        spec(16, 10, ONE_R),
        faults={"lrs": 0.02, "hrs": 0.03},
        defects={"open_row": 0.02, "open_col": 0.015, "row": 0.006, "column": 0.004, "cell": 0.003},
        encoding="pair",
        **NO_CONVERTERS,
    ),
    case(
        "conv-pair-no-converters",
        "conv",
        spec(24, 20, ONE_R),
        faults={"lrs": 0.02, "hrs": 0.06},
        encoding="pair",
        **NO_CONVERTERS,
    ),
    case(
        "conv-offset-8-4-transistor",
        "conv",
        spec(16, 10, ONE_T_ONE_R),
        faults={"lrs": 0.01, "hrs": 0.03},
        encoding="offset",
        adc_headroom=UNEVEN,
        weight_bits=8,
        device_bits=4,
        adc_range="column",
    ),
    case(
        "conv-pair-8-7-digital-1x1",
        "conv",
        spec(24, 20, ONE_R),
        faults={"lrs": 0.005, "hrs": 0.05, "at": 0.02, "at_range": [2.5e-06, 0.000125]},
        encoding="pair",
        weight_bits=8,
        device_bits=7,
        adc_range="column",
        digital_1x1=True,
        fold_batch_norm=True,
    ),
    case(
        "conv-serial-full-range-bent",
        "conv",
        spec(24, 20, BENT),
        faults={"lrs": 0.03, "hrs": 0.01},
        encoding="pair",
        inputs="serial",
        dac_bits=3,
        adc_range="full",
        adc_bits=11,
    ),
    case(
        "binary-pair-one-bit",
        "binary",
        spec(24, 20, ONE_R),
        faults={"lrs": 0.02, "hrs": 0.08},
        encoding="pair",
        dac_bits=1,
    ),
    case(
        "binary-offset-two-memories",
        "binary",
        spec(16, 10, ONE_T_TWO_R),
        faults={"lrs": 0.05, "hrs": 0.02},
        encoding="offset",
        adc_headroom=UNEVEN,
        dac_bits=1,
        adc_range="column",
    ),
    case(
        "binary-offset-spared-defects",
        "binary",
        spec(24, 20, ONE_T_ONE_R),
        faults={"lrs": 0.02, "hrs": 0.04},
        spared=True,
        defects={
            "transistor_open": 0.03,
            "transistor_shorted": 0.02,
            "open_gate": 0.01,
            "gate": 0.004,
            "row": 0.003,
        },
        encoding="offset",
        adc_headroom=UNEVEN,
        offset_faults=False,
        dac_bits=1,
        adc_bits=9,
    ),
    case(
        "signed-offset-serial-varied",
        "tanh",
        spec(16, 10, ONE_R),
        faults={"lrs": 0.03, "hrs": 0.05},
        varied=0.08,
        encoding="offset",
        adc_headroom=1.037,
        inputs="serial",
        dac_bits=5,
        adc_bits=7,
        adc_range="column",
    ),
    case(
        "signed-pair-from-source-everything",
        "tanh",
        spec(16, 10, FROM_SOURCE),
        faults={"lrs": 0.02, "hrs": 0.05},
        varied=0.12,
        defects={
            "transistor_open": 0.02,
            "transistor_shorted": 0.01,
            "open_row": 0.01,
            "open_col": 0.005,
            "open_gate": 0.01,
            "column": 0.003,
        },
        fidelities=[IDEAL, LINEAR, NONLINEAR],
        encoding="pair",
        dac_bits=7,
        adc_bits=9,
    ),
]
