"""Eight doubles at a time: the few vector operations that the compiled kernels are written in.

Numba's automatic vectoriser must prove that a store does not change a later load; inside one work
array that is hopeless, and a rank-k update whose accumulators live in registers is out of its
reach. These intrinsics state the vectors outright. LLVM lowers `<8 x double>` to whatever the host
has (one AVX-512 register, two AVX2, four NEON), so nothing here is specific to one machine.
"""

import numba
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 8
"""Doubles in one vector; rows and columns of dense blocks are padded to it."""


def _has_wide_registers() -> bool:
    try:
        return bool(binding.get_host_cpu_features().get("avx512f", False))
    except RuntimeError:  # some platforms do not report features
        return False


TILE_ROWS = 8 if _has_wide_registers() else 4
"""Rows of C that one micro-kernel call keeps in registers."""
TILE_VECTORS = 2 if _has_wide_registers() else 1
"""Vectors of columns that one micro-kernel call keeps in registers."""

compiled = numba.njit(nogil=True, cache=True, error_model="numpy")
"""How every kernel is compiled. Numba's cache does not notice a change in an imported kernel."""

_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, LANES)
_INT = ir.IntType(64)


class Vec(types.Type):  # type: ignore[misc]
    """Numba's name for a vector of LANES doubles."""

    def __init__(self) -> None:
        super().__init__(name=f"Vec{LANES}")


vec = Vec()


@register_model(Vec)
class _VecModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _VECTOR)


def _data(context, builder, array_type, array):
    return context.make_array(array_type)(context, builder, array).data


def _at(builder, base, index):
    """Pointer to the vector that starts at base[index]."""
    return builder.bitcast(builder.gep(base, [index]), _VECTOR.as_pointer())


def _load(builder, base, index):
    value = builder.load(_at(builder, base, index))
    value.align = 8
    return value


def _store(builder, value, base, index):
    builder.store(value, _at(builder, base, index)).align = 8


def _splat(builder, scalar):
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), scalar, ir.IntType(32)(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), mask)


def _fma(builder, a, b, c):
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f64")
    return builder.call(function, [a, b, c])


@intrinsic
def load(typingctx, array, index):
    """array.flat[index : index + LANES] of a contiguous array."""

    def codegen(context, builder, signature, args):
        return _load(builder, _data(context, builder, signature.args[0], args[0]), args[1])

    return vec(array, types.int64), codegen


@intrinsic
def store(typingctx, array, index, value):
    """array.flat[index : index + LANES] = value."""

    def codegen(context, builder, signature, args):
        base = _data(context, builder, signature.args[0], args[0])
        _store(builder, args[2], base, args[1])
        return context.get_dummy_value()

    return types.void(array, types.int64, vec), codegen


@intrinsic
def splat(typingctx, scalar):
    """The scalar in every lane."""
    return vec(types.float64), lambda context, builder, signature, args: _splat(builder, args[0])


@intrinsic
def fma(typingctx, a, b, c):
    """a * b + c in each lane, rounded once."""
    return vec(vec, vec, vec), lambda context, builder, signature, args: _fma(builder, *args)


@intrinsic
def add(typingctx, a, b):
    """a + b in each lane."""
    return vec(vec, vec), lambda context, builder, signature, args: builder.fadd(*args)


@intrinsic
def mul(typingctx, a, b):
    """a * b in each lane."""
    return vec(vec, vec), lambda context, builder, signature, args: builder.fmul(*args)


@intrinsic
def sub(typingctx, a, b):
    """a - b in each lane."""
    return vec(vec, vec), lambda context, builder, signature, args: builder.fsub(*args)


@intrinsic
def minimum(typingctx, a, b):
    """The smaller of a and b in each lane."""

    def codegen(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return vec(vec, vec), codegen


@intrinsic
def maximum(typingctx, a, b):
    """The larger of a and b in each lane."""

    def codegen(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return vec(vec, vec), codegen


@intrinsic
def by_sign(typingctx, a, b, c):
    """b where a is at least 0 and c elsewhere, in each lane."""

    def codegen(context, builder, signature, args):
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        return builder.select(builder.fcmp_ordered(">=", args[0], zero), args[1], args[2])

    return vec(vec, vec, vec), codegen


@intrinsic
def reciprocal(typingctx, a):
    """1 / a in each lane, and 0 where a is 0: a node without neighbours carries nothing."""

    def codegen(context, builder, signature, args):
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        one = ir.Constant(_VECTOR, [1.0] * LANES)
        empty = builder.fcmp_ordered("==", args[0], zero)
        return builder.select(empty, zero, builder.fdiv(one, args[0]))

    return vec(vec), codegen


@intrinsic
def total(typingctx, a):
    """The sum of the lanes."""

    def codegen(context, builder, signature, args):
        value = args[0]
        width = LANES
        while width > 1:  # fold the upper half onto the lower one
            width //= 2
            mask = ir.Constant(
                ir.VectorType(ir.IntType(32), LANES),
                [(k + width) % LANES for k in range(LANES)],
            )
            value = builder.fadd(value, builder.shuffle_vector(value, value, mask))
        return builder.extract_element(value, ir.IntType(32)(0))

    return types.float64(vec), codegen


def _rank_update(vectors):
    """Make the micro-kernel for TILE_ROWS x (vectors * LANES) entries of C."""

    @intrinsic
    def kernel(typingctx, c, c_at, c_ld, a, a_at, a_step, a_ld, b, b_at, b_ld, depth):
        """C[i, j] += sum over k < depth of A[k, i] B[k, j] for one register tile.

        Every matrix is a flat array with an offset and strides: C[i, j] is c[c_at + i c_ld + j],
        A[k, i] is a[a_at + i a_step + k a_ld] and B[k, j] is b[b_at + k b_ld + j].
        """

        def codegen(context, builder, signature, args):
            _, c_at, c_ld, _, a_at, a_step, a_ld, _, b_at, b_ld, depth = args
            c = _data(context, builder, signature.args[0], args[0])
            a = _data(context, builder, signature.args[3], args[3])
            b = _data(context, builder, signature.args[7], args[7])
            before, body = builder.block, builder.append_basic_block("depth")
            after = builder.append_basic_block("stored")
            c_index = [
                [
                    builder.add(c_at, builder.add(builder.mul(c_ld, _INT(i)), _INT(v * LANES)))
                    for v in range(vectors)
                ]
                for i in range(TILE_ROWS)
            ]
            steps = [builder.mul(a_step, _INT(i)) for i in range(TILE_ROWS)]
            zero = ir.Constant(_VECTOR, [0.0] * LANES)
            builder.cbranch(builder.icmp_signed(">", depth, _INT(0)), body, after)
            builder.position_at_end(body)
            k, a_now, b_now = builder.phi(_INT), builder.phi(_INT), builder.phi(_INT)
            sums = [[builder.phi(_VECTOR) for _ in range(vectors)] for _ in range(TILE_ROWS)]
            right = [_load(builder, b, builder.add(b_now, _INT(v * LANES))) for v in range(vectors)]
            news = []
            for i in range(TILE_ROWS):
                left = builder.load(builder.gep(a, [builder.add(a_now, steps[i])]))
                left = _splat(builder, left)
                news.append([_fma(builder, left, right[v], sums[i][v]) for v in range(vectors)])
            k_next = builder.add(k, _INT(1))
            a_next, b_next = builder.add(a_now, a_ld), builder.add(b_now, b_ld)
            last = builder.block
            for phi, first, later in (
                (k, _INT(0), k_next),
                (a_now, a_at, a_next),
                (b_now, b_at, b_next),
            ):
                phi.add_incoming(first, before)
                phi.add_incoming(later, last)
            for i in range(TILE_ROWS):
                for v in range(vectors):
                    sums[i][v].add_incoming(zero, before)
                    sums[i][v].add_incoming(news[i][v], last)
            finish = builder.append_basic_block("finish")
            builder.cbranch(builder.icmp_signed("<", k_next, depth), body, finish)
            builder.position_at_end(finish)
            for i in range(TILE_ROWS):
                for v in range(vectors):
                    old = _load(builder, c, c_index[i][v])
                    _store(builder, builder.fadd(old, news[i][v]), c, c_index[i][v])
            builder.branch(after)
            builder.position_at_end(after)
            return context.get_dummy_value()

        integer = types.int64
        signature = types.void(
            c, integer, integer, a, integer, integer, integer, b, integer, integer, integer
        )
        return signature, codegen

    return kernel


rank_update_wide = _rank_update(TILE_VECTORS)
rank_update_narrow = _rank_update(1)


@intrinsic
def eliminate_within(typingctx, panel, at, ld, scaled, scaled_at, scaled_ld, factor, columns):
    """Finish LANES rows of a panel: add to each row its share of the rows above it.

    For each column: row[r] += sum over q < r of factor[q, r] row[q], then
    scaled row[r] = factor[r, r] row[r]. `factor` is a contiguous [LANES, LANES] array.
    """

    def codegen(context, builder, signature, args):
        _, at, ld, _, scaled_at, scaled_ld, _, columns = args
        panel = _data(context, builder, signature.args[0], args[0])
        scaled = _data(context, builder, signature.args[3], args[3])
        factor = _data(context, builder, signature.args[6], args[6])
        before, body = builder.block, builder.append_basic_block("columns")
        after = builder.append_basic_block("done")
        rows = [builder.add(at, builder.mul(ld, _INT(r))) for r in range(LANES)]
        outs = [builder.add(scaled_at, builder.mul(scaled_ld, _INT(r))) for r in range(LANES)]
        builder.cbranch(builder.icmp_signed(">", columns, _INT(0)), body, after)
        builder.position_at_end(body)
        column = builder.phi(_INT)
        values = [_load(builder, panel, builder.add(rows[r], column)) for r in range(LANES)]
        for q in range(LANES):
            for r in range(q + 1, LANES):
                share = builder.load(builder.gep(factor, [_INT(q * LANES + r)]))
                values[r] = _fma(builder, _splat(builder, share), values[q], values[r])
        for r in range(LANES):
            _store(builder, values[r], panel, builder.add(rows[r], column))
            inverse = builder.load(builder.gep(factor, [_INT(r * LANES + r)]))
            product = builder.fmul(_splat(builder, inverse), values[r])
            _store(builder, product, scaled, builder.add(outs[r], column))
        following = builder.add(column, _INT(LANES))
        column.add_incoming(_INT(0), before)
        column.add_incoming(following, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, columns), body, after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    integer = types.int64
    signature = types.void(panel, integer, integer, scaled, integer, integer, factor, integer)
    return signature, codegen


@intrinsic
def transpose(typingctx, source, source_places, target, target_places):
    """target[target_places[j] + i] = source[source_places[i] + j] for LANES x LANES entries.

    Both lists of places are int64 arrays of LANES offsets into flat arrays.
    """

    def codegen(context, builder, signature, args):
        data = [_data(context, builder, signature.args[k], args[k]) for k in range(4)]
        source, source_places, target, target_places = data

        def place(places, k):
            return builder.load(builder.gep(places, [_INT(k)]))

        rows = [_load(builder, source, place(source_places, k)) for k in range(LANES)]
        half = 1
        while half < LANES:  # exchange the off-diagonal blocks of size `half`
            low = [k if not k & half else LANES + k - half for k in range(LANES)]
            high = [k + half if not k & half else LANES + k for k in range(LANES)]
            masks = [
                ir.Constant(ir.VectorType(ir.IntType(32), LANES), order) for order in (low, high)
            ]
            news = list(rows)
            for k in range(LANES):
                if not k & half:
                    for mask, to in zip(masks, (k, k + half), strict=True):
                        news[to] = builder.shuffle_vector(rows[k], rows[k + half], mask)
            rows = news
            half *= 2
        for k in range(LANES):
            _store(builder, rows[k], target, place(target_places, k))
        return context.get_dummy_value()

    return types.void(source, source_places, target, target_places), codegen


@compiled
def padded(n):
    """n rounded up to whole vectors."""
    return (n + LANES - 1) // LANES * LANES
