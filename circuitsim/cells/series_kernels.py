"""Compiled currents of a memory in series with a tabulated transistor.

The transistor is a bicubic spline over (lower voltage, drop), both counted in knots. The node
between the two is found by Newton's method, kept inside a bracket: the memory's current rises with
the memory's drop and the transistor's falls, so there is one balance and it cannot be missed.
"""

import math

from circuitsim.dissection.simd import compiled

STEPS = 80
CLOSE = 1e-7  # a Newton step this small, of the whole drop, is the last: what is left is its square


@compiled
def spline(table, low, drop):
    """(current, its slope with low, with drop), per knot; both coordinates in [0, n - 1].

    table: [n + 2, n + 2], see `series_surface.spline_coefficients`.
    """
    last = table.shape[0] - 3
    i, j = min(max(int(low), 0), last - 1), min(max(int(drop), 0), last - 1)
    x, y = low - i, drop - j
    x0, y0 = 1 - x, 1 - y
    a0, a3 = x0 * x0 * x0 / 6, x * x * x / 6
    a1, a2 = 2.0 / 3 - x * x * (1 - x / 2), 2.0 / 3 - x0 * x0 * (1 - x0 / 2)
    da0, da3 = -x0 * x0 / 2, x * x / 2
    da1, da2 = x * (1.5 * x - 2), -x0 * (1.5 * x0 - 2)
    b0, b3 = y0 * y0 * y0 / 6, y * y * y / 6
    b1, b2 = 2.0 / 3 - y * y * (1 - y / 2), 2.0 / 3 - y0 * y0 * (1 - y0 / 2)
    db0, db3 = -y0 * y0 / 2, y * y / 2
    db1, db2 = y * (1.5 * y - 2), -y0 * (1.5 * y0 - 2)
    value = by_low = by_drop = 0.0
    for k in range(4):
        t0, t1 = table[i + k, j], table[i + k, j + 1]
        t2, t3 = table[i + k, j + 2], table[i + k, j + 3]
        inner = b0 * t0 + b1 * t1 + b2 * t2 + b3 * t3
        a = a0 if k == 0 else a1 if k == 1 else a2 if k == 2 else a3
        da = da0 if k == 0 else da1 if k == 1 else da2 if k == 2 else da3
        value += a * inner
        by_low += da * inner
        by_drop += a * (db0 * t0 + db1 * t1 + db2 * t2 + db3 * t3)
    return value, by_low, by_drop


@compiled
def balance(table, knots, v_low, low, drop, rides, g, bend, guess):
    """(current, dI/d drop, dI/d low) of memory and transistor in series across `drop` >= 0.

    low: the lower of the two line voltages.  rides: 1.0 where the transistor lies above the
    memory, so that its lower end is the node between, and 0.0 where it lies on the lower line.
    g: state, S.  bend: 1/V, 0 for Ohm's law, else I = g sinh(bend d) / bend.
    guess: current to start from.  knots: 1/V.
    """
    least, most = 0.0, drop
    p = min(max((math.asinh(guess * bend / g) / bend if bend > 0 else guess / g), 0.0), drop)
    current, slope, value, by_low, by_drop = 0.0, g, 0.0, 0.0, 0.0
    for _ in range(STEPS):
        if bend > 0:
            current, slope = g * math.sinh(bend * p) / bend, g * math.cosh(bend * p)
        else:
            current, slope = g * p, g
        at = (low - v_low + rides * p) * knots
        value, by_low, by_drop = spline(table, at, (drop - p) * knots)
        by_low, by_drop = by_low * knots, by_drop * knots
        off = current - value
        if off > 0:
            most = p
        else:
            least = p
        step = off / max(slope + by_drop - rides * by_low, 0.5 * slope)
        new = p - step
        if not (least <= new <= most):
            new = (least + most) / 2
        step, p = abs(new - p), new
        if step <= CLOSE * drop:
            break
    if value < 0.0 and drop > 0.0:  # cut off: what the spline waves around 0
        return 0.0, 0.0, 0.0
    if bend > 0:
        current, slope = g * math.sinh(bend * p) / bend, g * math.cosh(bend * p)
    else:
        current, slope = g * p, g
    share = slope / max(slope + by_drop - rides * by_low, 0.5 * slope)
    return current, share * by_drop, share * by_low


@compiled
def series_step(
    v_row, v_col, g, table, v_low, v_high, knots, below, bend, backward, g0, excess, i_out, change
):
    """Cells as memory and transistor in series; arguments as `laws.kernels.surface_step`.

    g: states [rows, cols], S.  below: whether the transistor is on the lower line when current
    flows from row to column.  backward: what the memory's current is multiplied by when it flows
    the other way.
    """
    rows, cols, width = v_row.shape
    i_out[:] = 0.0
    change[:] = 0.0
    for i in range(rows):
        for j in range(cols):
            for b in range(width):
                x = min(max(v_row[i, j, b], v_low), v_high)
                y = min(max(v_col[i, j, b], v_low), v_high)
                d = x - y
                current = 0.0
                if d != 0.0 and g[i, j] > 0.0:
                    sign = 1.0 if d > 0 else -1.0
                    rides = 0.0 if (d > 0) == below else 1.0
                    state = g[i, j] if d > 0 else g[i, j] * backward
                    guess = sign * (excess[i, j, b] + g0[i, j] * d)  # what it was a step ago
                    current, _, _ = balance(
                        table, knots, v_low, min(x, y), abs(d), rides, state, bend, guess
                    )
                    current *= sign
                new = current - g0[i, j] * d
                change[j, b] += abs(new - excess[i, j, b])
                excess[i, j, b] = new
                i_out[j, b] += current


@compiled
def series_points(
    v_drive, v_sense, g, table, v_low, knots, below, bend, backward, current, by_drive, by_sense
):
    """Current and slopes (dI/dv_drive, -dI/dv_sense) at flat arrays of points, written in place."""
    for k in range(v_drive.size):
        d = v_drive[k] - v_sense[k]
        current[k] = by_drive[k] = by_sense[k] = 0.0
        if g[k] > 0.0:
            forward = d >= 0
            rides = 0.0 if forward == below else 1.0
            low = min(v_drive[k], v_sense[k])
            state = g[k] if forward else g[k] * backward
            found, with_drop, with_low = balance(
                table, knots, v_low, low, abs(d), rides, state, bend, state * abs(d)
            )
            current[k] = found if forward else -found
            by_drive[k] = with_drop if forward else with_drop - with_low
            by_sense[k] = with_drop - with_low if forward else with_drop
