from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netlists import InputError
from nnmap.layers.compiled.packing import ReadGroup
from nnmap.layers.compiled.reads import Clips, CompiledReads, InputDrive
from tests.tolerances import EXACT

V_READ = 0.2
G = 1e-4


@dataclass(frozen=True, kw_only=True)
class Window:
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


def decoding(rng, columns, outputs, kind):
    """CSR lists: outputs and coefficients of every column."""
    lists = []
    for c in range(columns):
        if kind == "single":
            lists.append(([rng.integers(outputs)], [rng.choice([-1, 1]) * 2.0 ** rng.integers(5)]))
        elif kind == "offset" and c == columns - 1:  # all outputs, in proportion to a column's
            lists.append((list(range(outputs)), list(-(np.arange(outputs) % 3 + 1.0))))
        elif kind == "offset":
            lists.append(([c % outputs], [2.0]))
        else:  # anything, also nothing
            chosen = rng.permutation(outputs)[: rng.integers(outputs + 1)]
            lists.append((list(chosen), list(rng.normal(size=len(chosen)))))
    indptr = np.cumsum([0, *(len(o) for o, _ in lists)])
    outputs_of = np.array([o for chosen, _ in lists for o in chosen], int)
    coefficients = np.array([c for _, weights in lists for c in weights], float) / G
    return {"indptr": indptr, "outputs": outputs_of, "coefficients": coefficients}


def row_group(rng, rows, columns, inputs, outputs, *, kind="single", top=255, flips=False):
    contiguous = rows <= inputs and rng.random() < 0.5
    start = rng.integers(inputs - rows + 1) if contiguous else 0
    driven = np.arange(start, start + rows) if contiguous else rng.integers(inputs, size=rows)
    full = rows * V_READ * G
    return ReadGroup(
        inputs=driven,
        flip=rng.random(rows) < 0.5 if flips else None,
        operator=rng.random((rows, columns)) * G,
        # From a comfortable range to one that most currents exceed.
        step=None if top is None else full * rng.uniform(0.1, 1.0, columns) / top,
        **decoding(rng, columns, outputs, kind),
    )


def volts_of(size, drive, plane):
    """Row voltages of inputs >= 0."""
    if drive.bits is None:
        place = size / drive.x_max * (len(drive.volts) - 1)
        piece = place.long().clamp(max=len(drive.volts) - 2)
        table = torch.as_tensor(drive.volts)
        return table[piece] + (place - piece) * (table[piece + 1] - table[piece])
    levels = 2**drive.bits - 1
    code = torch.round(size.clamp(max=drive.x_max) / drive.x_max * levels)
    if drive.serial:
        return (code.long() >> plane & 1).to(size.dtype) * float(drive.volts[-1])
    fractions = np.linspace(0, 1, len(drive.volts))
    return torch.from_numpy(np.interp(code.numpy() / levels, fractions, drive.volts))


def reference(groups, x, drive, *, outputs, top, lowest=0, bias=None, near=1e-9):
    """(y, clipped codes, conversions, what codes `near` a rounding boundary may change)."""
    x = x.to(torch.float64)
    y = torch.zeros(len(x), outputs, dtype=torch.float64)
    if bias is not None:
        y += torch.as_tensor(bias)
    slack = torch.zeros_like(y)
    clipped = conversions = 0
    negative = bool((x < 0).any())
    planes = drive.bits if drive.serial else 1
    for sign in (1,) if drive.bipolar else (1, -1):
        for group in groups:
            rows = len(group.inputs)
            flip = np.zeros(rows, bool) if group.flip is None else group.flip
            towards = torch.from_numpy(np.where(flip, -1.0, 1.0))
            if not drive.bipolar and not (negative or (towards == sign).any()):
                continue  # no row can be driven
            signed = sign * towards * x[:, torch.as_tensor(group.inputs)]
            decode = np.zeros((group.operator.shape[1], outputs))
            column = np.repeat(np.arange(len(decode)), np.diff(group.indptr))
            np.add.at(decode, (column, group.outputs), group.coefficients)
            decode = torch.from_numpy(decode)
            for plane in range(planes):
                worth = sign * (2**plane / (2**drive.bits - 1) if drive.serial else 1)
                if drive.bipolar:
                    v = volts_of(signed.abs(), drive, plane) * signed.sign()
                else:
                    v = volts_of(signed.clamp(min=0), drive, plane)
                i = v @ torch.from_numpy(group.operator).to(torch.float64)
                if top is not None:
                    step = torch.as_tensor(group.step)
                    codes = torch.round(i / step)
                    clipped += int(((codes > top) | (codes < lowest)).sum())
                    conversions += codes.numel()
                    unsure = ((i / step % 1 - 0.5).abs() < near).to(torch.float64) * step
                    slack += abs(worth) * (unsure @ decode.abs())
                    i = codes.clamp(lowest, top) * step
                y += worth * (i @ decode)
    return y, clipped, conversions, slack


def inputs_for(rng, shape, drive, *, signed):
    """Inputs, some beyond x_max, far enough from the boundaries of codes for float32."""
    levels = 1000 if drive.bits is None else 2**drive.bits - 1
    low = -levels if signed else 0
    codes = rng.integers(low, levels + levels // 5 + 2, size=shape)
    x = torch.from_numpy((codes + rng.uniform(-0.4, 0.4, shape)) / levels * drive.x_max)
    return x if signed else x.abs()


def compiled(groups, drive, *, inputs, outputs, dtype=torch.float64, **options):
    return CompiledReads.of(
        groups, inputs=inputs, outputs=outputs, drive=drive, dtype=dtype, **options
    )


def scale_of(groups, expected):
    """What rounding is relative to: sums cancel, what they are made of does not."""
    largest = [abs(g.coefficients).max(initial=0) * len(g.inputs) * V_READ * G for g in groups]
    return max(float(expected.abs().max()) if expected.numel() else 0.0, *largest)


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


DRIVES = st.builds(
    lambda bits, serial, bipolar, curved, x_max: InputDrive(
        x_max=x_max,
        volts=V_READ * np.linspace(0, 1, 12 if curved else 2) ** (1.3 if curved else 1),
        bits=bits,
        serial=serial and bits is not None,
        bipolar=bipolar,
    ),
    bits=st.sampled_from([None, 1, 3, 8, 13]),
    serial=st.booleans(),
    bipolar=st.booleans(),
    curved=st.booleans(),
    x_max=st.floats(0.3, 4.0),
)


@given(
    drive=DRIVES,
    sizes=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 19)), min_size=1, max_size=3),
    inputs=st.integers(1, 30),
    outputs=st.integers(1, 7),
    vectors=st.sampled_from([0, 1, 7, 8, 30, 130]),
    kind=st.sampled_from(["single", "offset", "any"]),
    top=st.sampled_from([None, 1, 255, 4095]),
    signed=st.booleans(),
    flips=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_linear_equals_products_and_converters_one_after_the_other(
    drive, sizes, inputs, outputs, vectors, kind, top, signed, flips, bias, seed
):
    rng = np.random.default_rng(seed)
    groups = [
        row_group(rng, rows, columns, inputs, outputs, kind=kind, top=top, flips=flips)
        for rows, columns in sizes
    ]
    options = {"top": top, "lowest": -(top or 0) if drive.bipolar else 0}
    options["bias"] = rng.normal(size=outputs) if bias else None
    x = inputs_for(rng, (vectors, inputs), drive, signed=signed)
    layer = compiled(groups, drive, inputs=inputs, outputs=outputs, **options)
    y, clips = layer.linear(x)
    expected, clipped, conversions, slack = reference(groups, x, drive, outputs=outputs, **options)
    scale = scale_of(groups, expected)
    assert y.shape == expected.shape and y.dtype == x.dtype
    assert bool(((y - expected).abs() <= slack + EXACT * scale).all())
    assert clips.adc_of == conversions
    if not slack.any():
        assert clips.adc == clipped
    counted = drive.bits is not None
    assert clips.dac == (int((x.abs() > drive.x_max).sum()) if counted else 0)

    single = compiled(groups, drive, inputs=inputs, outputs=outputs, dtype=torch.float32, **options)
    rough, few = single.linear(x.float())
    near = reference(
        groups, x.float(), drive, outputs=outputs, near=1e-6 * (top or 0) + 1e-4, **options
    )
    assert rough.dtype == torch.float32 and few.adc_of == conversions
    assert bool(((rough - near[0]).abs() <= near[3] + 1e-5 * scale).all())


@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    size=st.tuples(st.integers(5, 13), st.integers(5, 17)),
    images=st.sampled_from([0, 1, 3, 8]),
    channels=st.integers(1, 3),
    outputs=st.integers(1, 5),
    drive=DRIVES,
    signed=st.booleans(),
    flips=st.booleans(),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    seed=st.integers(0, 2**31),
)
def test_convolution_equals_reads_of_its_patches(
    kernel,
    stride,
    dilation,
    padding,
    size,
    images,
    channels,
    outputs,
    drive,
    signed,
    flips,
    dtype,
    seed,
):
    rng = np.random.default_rng(seed)
    inputs = channels * kernel[0] * kernel[1]
    groups = [
        row_group(rng, rows, columns, inputs, outputs, kind="offset", flips=flips)
        for rows, columns in ((inputs, 2 * outputs + 1), (max(1, inputs // 2), 3))
    ]
    x = inputs_for(rng, (images, channels, *size), drive, signed=signed).to(dtype)
    window = Window(kernel=kernel, stride=stride, dilation=dilation, padding=padding)
    layer = compiled(
        groups,
        drive,
        inputs=inputs,
        outputs=outputs,
        top=255,
        lowest=-255 * drive.bipolar,
        dtype=dtype,
    )
    y, clips = layer.convolve(x, window)

    padded = torch.nn.functional.pad(x, padding)
    height, width = y.shape[2:]
    expected_size = torch.nn.functional.conv2d(
        torch.zeros(1, 1, *padded.shape[2:]), torch.zeros(1, 1, *kernel), None, stride, 0, dilation
    ).shape[2:]
    assert (height, width) == expected_size and len(y) == images
    patches = (
        torch.nn.functional.unfold(padded, kernel, dilation, 0, stride)
        if images
        else torch.zeros(0, inputs, height * width)
    )
    vectors = patches.transpose(1, 2).reshape(-1, inputs).to(dtype)
    flat, of_patches = layer.linear(vectors)
    # Whatever way inputs come in, arithmetic is the same to the last bit.
    assert torch.equal(y, flat.view(images, height * width, outputs).mT.reshape(y.shape))
    assert clips.adc == of_patches.adc and clips.adc_of == of_patches.adc_of
    assert clips.dac == (int((x.abs() > drive.x_max).sum()) if drive.bits is not None else 0)


@given(
    dtype=st.sampled_from([torch.float64, torch.float32]),
    kept=st.sampled_from([torch.float64, torch.float32]),
    vectors=st.integers(1, 700),
    seed=st.integers(0, 2**31),
)
def test_threads_and_neighbours_change_no_bit(dtype, kept, vectors, seed):
    rng = np.random.default_rng(seed)
    groups = [row_group(rng, n, 19, 40, 5, kind="offset") for n in (33, 7)]
    drive = InputDrive(x_max=1.0, volts=np.array([0.0, V_READ]), bits=8)
    layer = compiled(groups, drive, inputs=40, outputs=5, top=255, dtype=dtype)
    x = torch.from_numpy(rng.uniform(-1, 1.1, (vectors, 40))).to(kept)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(layer.linear(x))
    assert torch.equal(found[0][0], found[1][0]) and found[0][1] == found[1][1]
    assert found[0][0].dtype == kept
    some = int(rng.integers(vectors))
    alone = layer.linear(torch.cat([x[some : some + 1], -x[:1].abs()]))[0][0]
    if (x < 0).any():
        assert torch.equal(alone, found[0][0][some])


def test_no_code_differs_on_random_data():
    rng = np.random.default_rng(5)
    rows, columns = 64, 96
    group = replace(
        row_group(rng, rows, columns, rows, columns),
        indptr=np.arange(columns + 1),
        outputs=np.arange(columns),
        coefficients=np.ones(columns),
    )
    drive = InputDrive(x_max=1.0, volts=np.array([0.0, V_READ]), bits=8)
    x = torch.from_numpy(rng.random((5000, rows)))
    options = {"outputs": columns, "top": 255}
    y, clips = compiled([group], drive, inputs=rows, **options).linear(x)
    expected, clipped, _, _ = reference([group], x, drive, **options)
    step = torch.from_numpy(group.step)
    codes, right = torch.round(y / step), torch.round(expected / step)
    assert int((codes != right).sum()) == 0
    assert clips.adc == clipped > 0
    assert 0 < int(right.min()) < int(right.max()) == 255


def exact(values, columns=1, **options):
    """One row and as many columns as wanted that read codes equal to `values` volts."""
    group = ReadGroup(
        inputs=[0],
        operator=np.ones((1, columns)),
        step=1.0,
        indptr=np.arange(columns + 1),
        outputs=np.zeros(columns, int),
        coefficients=np.ones(columns),
    )
    drive = InputDrive(x_max=1.0, volts=np.array([0.0, 1.0]), bits=None)
    layer = compiled([group], drive, inputs=1, outputs=1, **options)
    return layer.linear(torch.tensor(values, dtype=torch.float64)[:, None])


def test_ties_go_to_even_codes_and_only_codes_beyond_the_range_are_counted():
    values = [0.49, 0.5, 0.51, 1.5, 2.5, 3.5, 254.5, 255.0, 255.49, 255.5, 256.0, 1e9]
    y, clips = exact(values, top=255)
    assert y[:, 0].tolist() == [0, 0, 1, 2, 2, 4, 254, 255, 255, 255, 255, 255]
    assert clips == Clips(dac=0, dac_of=0, adc=3, adc_of=len(values))
    assert exact(values, columns=11, top=255)[1].adc == 33


def test_nan_and_infinity_stay_what_they_are_or_saturate():
    y, clips = exact([1.0, float("nan"), float("inf")], top=255)
    assert y[0, 0] == 1 and y[1, 0].isnan() and y[2, 0] == 255
    assert clips.adc == 1
    group = ReadGroup(
        inputs=[0, 1], operator=np.ones((2, 1)), indptr=[0, 1], outputs=[0], coefficients=[1.0]
    )
    drive = InputDrive(x_max=1.0, volts=np.array([0.0, 1.0]), bits=4)
    layer = compiled([group], drive, inputs=2, outputs=1, top=None)
    x = torch.tensor([[float("nan"), 0.0], [float("inf"), 1.0], [0.4, -float("inf")]])
    y, clips = layer.linear(x)
    assert y[0, 0].isnan() and y[1, 0] == 2.0
    assert y[2, 0] == torch.tensor(0.4 - 1.0) and clips.dac == 2


def test_a_layer_without_groups_is_its_bias():
    drive = InputDrive(x_max=1.0, volts=np.array([0.0, 1.0]), bits=8)
    layer = compiled([], drive, inputs=3, outputs=2, top=255, bias=[1.0, -2.0])
    y, clips = layer.linear(torch.rand(5, 3))
    assert y.tolist() == [[1.0, -2.0]] * 5
    assert clips == Clips(dac=0, dac_of=0, adc=0, adc_of=0)


GROUP = {
    "inputs": [0, 1],
    "operator": np.ones((2, 1)),
    "step": 1.0,
    "indptr": [0, 1],
    "outputs": [0],
    "coefficients": [1.0],
}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inputs": [0, 1, 1]}, r"inputs.shape=\(3,\)"),
        ({"inputs": [0, 2]}, "inputs 0..2 must lie in 0..1"),
        ({"outputs": [-1]}, "outputs -1..-1 must lie in 0..0"),
        ({"indptr": [0, 1, 1]}, "no CSR arrays of 1 columns"),
        ({"coefficients": []}, "no CSR arrays"),
        ({"step": 0.0}, "must be positive"),
        ({"step": None}, "step and top belong together"),
        ({"flip": [True]}, r"flip.shape=\(1,\)"),
    ],
)
def test_groups_that_do_not_fit_are_refused(changed, message):
    drive = InputDrive(x_max=1.0, volts=np.array([0.0, 1.0]), bits=8)
    with pytest.raises(InputError, match=message):
        compiled([ReadGroup(**{**GROUP, **changed})], drive, inputs=2, outputs=1, top=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "ADC codes 0..0"),
        ({"top": 3, "lowest": 1}, "ADC codes 1..3"),
        ({"top": 3, "bias": [1.0, 2.0]}, r"bias.shape=\(2,\)"),
        ({"top": 3, "dtype": torch.float16}, "must be torch.float32 or torch.float64"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    drive = InputDrive(x_max=1.0, volts=np.array([0.0, 1.0]), bits=8)
    with pytest.raises(InputError, match=message):
        compiled([ReadGroup(**GROUP)], drive, inputs=2, outputs=1, **options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"x_max": 0.0}, "x_max=0.0"),
        ({"volts": np.ones(1)}, r"volts.shape=\(1,\)"),
        ({"volts": np.array([0.1, 0.2])}, "must be 0 V"),
        ({"bits": None, "serial": True}, "bit-serial"),
        ({"bits": 25}, "bits=25"),
    ],
)
def test_drives_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        InputDrive(**{"x_max": 1.0, "volts": np.array([0.0, 1.0]), "bits": 8, **settings})


def test_inputs_of_another_shape_are_refused():
    drive = InputDrive(x_max=1.0, volts=np.array([0.0, 1.0]), bits=8)
    layer = compiled([ReadGroup(**GROUP)], drive, inputs=2, outputs=1, top=3)
    with pytest.raises(InputError, match=r"x.shape=\(4, 3\)"):
        layer.linear(torch.rand(4, 3))
    with pytest.raises(InputError, match=r"x.shape=\(4, 3, 5, 5\)"):
        layer.convolve(torch.rand(4, 3, 5, 5), Window(kernel=(2, 1)))
    with pytest.raises(InputError, match="smaller than the"):
        layer.convolve(torch.rand(4, 1, 1, 5), Window(kernel=(2, 1)))
