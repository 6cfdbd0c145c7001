"""The innermost step of a compiled read: a few columns times a few vectors of inputs, converted.

A register tile of column currents is summed over all rows of its tile, and rounded, clamped,
counted and added to the outputs it serves before anything leaves the registers. Input vectors lie
along the lanes, so that what belongs to a column (its step, its output, its coefficient) is one
number for the whole register.
"""

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

REGISTER = 64
"""Bytes of one vector; LLVM splits it where registers are narrower."""


def _has_wide_registers() -> bool:
    try:
        return bool(binding.get_host_cpu_features().get("avx512f", False))
    except RuntimeError:  # some platforms do not report features
        return False


COLUMNS, VECTORS = (8, 3) if _has_wide_registers() else (6, 1)
"""Columns and vectors of inputs of a register tile: as many sums as there are registers for."""

_INT = ir.IntType(64)


def lanes(itemsize: int) -> int:
    """Numbers of one vector."""
    return REGISTER // itemsize


class _Vectors:
    """LLVM operations on vectors of one number type."""

    def __init__(self, context, builder, dtype):
        self.builder = builder
        self.bytes = dtype.bitwidth // 8
        self.count = lanes(self.bytes)
        self.scalar = context.get_value_type(dtype)
        self.type = ir.VectorType(self.scalar, self.count)
        self.counter = ir.VectorType(ir.IntType(dtype.bitwidth), self.count)
        self.name = f"v{self.count}f{dtype.bitwidth}"
        self.zero = ir.Constant(self.type, [0.0] * self.count)

    def at(self, base, index, vector=None):
        """Pointer to the vector that starts at base[index]."""
        place = self.builder.gep(base, [index])
        return self.builder.bitcast(place, (vector or self.type).as_pointer())

    def load(self, base, index, vector=None):
        value = self.builder.load(self.at(base, index, vector))
        value.align = self.bytes
        return value

    def store(self, value, base, index, vector=None):
        self.builder.store(value, self.at(base, index, vector)).align = self.bytes

    def splat(self, scalar):
        undefined = ir.Constant(self.type, ir.Undefined)
        one = self.builder.insert_element(undefined, scalar, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.count), [0] * self.count)
        return self.builder.shuffle_vector(one, undefined, mask)

    def call(self, operation, *values):
        kind = ir.FunctionType(self.type, [self.type] * len(values))
        name = f"llvm.{operation}.{self.name}"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, values)

    def fma(self, a, b, c):
        return self.call("fma", a, b, c)

    def larger(self, a, b):
        """The larger; b where either is NaN."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def smaller(self, a, b):
        """The smaller; b where either is NaN."""
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)


def _products(use, vectors, x, x_at, x_ld, a, a_at, depth):
    """Currents of the register tile: [COLUMNS][vectors], the sums over its rows."""
    builder = use.builder
    before, body = builder.block, builder.append_basic_block("rows")
    after = builder.append_basic_block("summed")
    builder.branch(body)
    builder.position_at_end(body)
    row, x_now, a_now = builder.phi(_INT), builder.phi(_INT), builder.phi(_INT)
    sums = [[builder.phi(use.type) for _ in range(vectors)] for _ in range(COLUMNS)]
    steps = [builder.add(x_now, _INT(v * use.count)) for v in range(vectors)]
    volts = [use.load(x, step) for step in steps]
    news = []
    for c in range(COLUMNS):
        g = use.splat(builder.load(builder.gep(a, [builder.add(a_now, _INT(c))])))
        news.append([use.fma(g, volts[v], sums[c][v]) for v in range(vectors)])
    row_next = builder.add(row, _INT(1))
    for phi, first, later in (
        (row, _INT(0), row_next),
        (x_now, x_at, builder.add(x_now, x_ld)),
        (a_now, a_at, builder.add(a_now, _INT(COLUMNS))),
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(later, body)
    for c in range(COLUMNS):
        for v in range(vectors):
            sums[c][v].add_incoming(use.zero, before)
            sums[c][v].add_incoming(news[c][v], body)
    builder.cbranch(builder.icmp_signed("<", row_next, depth), body, after)
    builder.position_at_end(after)
    return news


def _deliver(use, currents, converted, column, columns, sums, limits, beyond):
    """Convert a register tile's currents and add them to the sums they serve."""
    builder = use.builder
    weight, place = columns
    y, y_at, y_ld = sums
    vectors = len(currents[0])
    lowest, top, factor = (
        use.splat(builder.load(builder.gep(limits, [_INT(k)]))) for k in range(3)
    )
    clamped = use.load(beyond, _INT(0), use.counter) if converted else None

    def of_column(array, c):
        return builder.load(builder.gep(array, [builder.add(column, _INT(c))]))

    def add_to(where, parts):
        start = builder.add(y_at, builder.mul(where, y_ld))
        for v in range(vectors):
            at = builder.add(start, _INT(v * use.count))
            use.store(use.fma(factor, parts[v], use.load(y, at)), y, at)

    parts, where = [use.zero] * vectors, of_column(place, 0)
    for c in range(COLUMNS):
        w = use.splat(of_column(weight, c))
        news = []
        for v in range(vectors):
            value = currents[c][v]
            if converted:
                code = use.call("nearbyint", value)
                value = use.smaller(top, use.larger(lowest, code))
                outside = builder.fcmp_ordered("!=", code, value)
                clamped = builder.sub(clamped, builder.sext(outside, use.counter))
            news.append(use.fma(w, value, parts[v]))
        if c + 1 == COLUMNS:
            add_to(where, news)
            break
        following, here = of_column(place, c + 1), builder.block
        stored, joined = (builder.append_basic_block(n) for n in ("stored", "joined"))
        builder.cbranch(builder.icmp_signed("==", following, where), joined, stored)
        builder.position_at_end(stored)
        add_to(where, news)
        builder.branch(joined)
        builder.position_at_end(joined)
        parts = [builder.phi(use.type) for _ in range(vectors)]
        for v in range(vectors):
            parts[v].add_incoming(news[v], here)
            parts[v].add_incoming(use.zero, stored)
        where = following
    if converted:
        use.store(clamped, beyond, _INT(0), use.counter)


def _column_reader(vectors):
    """Make the step for so many vectors of inputs."""

    @intrinsic
    def read_columns(
        typingctx,
        x,
        x_at,
        x_ld,
        a,
        a_at,
        depth,
        weight,
        place,
        column,
        y,
        y_at,
        y_ld,
        limits,
        converted,
        beyond,
    ):
        """y[place[c]] += factor weight[c] code(sum over k < depth of A[k, c] x[k]), c < COLUMNS.

        Arrays are flat: x[k] is the register tile's vectors at x_at + k x_ld, y[p] those at
        y_at + p y_ld, A[k, c] is a[a_at + k COLUMNS + c]; `weight` and `place` count from `column`.
        Neighbouring columns that serve one place are added before they are stored.
        limits: (lowest code, highest code, factor).
        converted: whether currents are rounded and clamped; `beyond` counts the clamped, by lane.
        """

        def codegen(context, builder, signature, args):
            def data(k):
                return context.make_array(signature.args[k])(context, builder, args[k]).data

            use = _Vectors(context, builder, signature.args[0].dtype)
            _, x_at, x_ld, _, a_at, depth, *_ = args
            currents = _products(use, vectors, data(0), x_at, x_ld, data(3), a_at, depth)
            columns, sums = (data(6), data(7)), (data(9), args[10], args[11])
            with builder.if_else(args[13]) as branches:
                for choice, branch in zip((True, False), branches, strict=True):
                    with branch:
                        _deliver(use, currents, choice, args[8], columns, sums, data(12), data(14))
            return context.get_dummy_value()

        integer = types.int64
        signature = types.void(
            x, integer, integer, a, integer, integer, weight, place, integer, y, integer, integer,
            limits, types.boolean, beyond,
        )  # fmt: skip
        return signature, codegen

    return read_columns


read_one, read_two, read_wide = (_column_reader(vectors) for vectors in (1, 2, VECTORS))


@intrinsic
def copy_vector(typingctx, target, target_at, source, source_at):
    """Copy as many numbers as a vector holds between flat arrays of one type."""

    def codegen(context, builder, signature, args):
        to, of = (
            context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 2)
        )
        use = _Vectors(context, builder, signature.args[0].dtype)
        use.store(use.load(of, args[3]), to, args[1])
        return context.get_dummy_value()

    return types.void(target, types.int64, source, types.int64), codegen


@intrinsic
def claim(typingctx, counter):
    """counter[0], which is then 1 more, to one thread at a time."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, _INT(1), "monotonic")

    return types.int64(counter), codegen
