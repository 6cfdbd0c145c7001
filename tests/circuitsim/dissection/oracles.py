"""Independent answers: sparse nodal analysis with extended-precision refinement, and mpmath."""

import mpmath
import numpy as np
import scipy.sparse as sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from tests.circuitsim.dissection.parts import Parts


def _branches(parts: Parts):
    """(a, b, resistance as a pair summed in full precision) lists; terminals are -1."""
    rows, cols = parts.g_cell.shape
    for i in range(rows):
        for j in range(cols):
            x, y = i * cols + j, rows * cols + i * cols + j
            yield ("cell", x, y, i, j)
            yield ("row", x - 1 if j else -1, x, i, j)
            yield ("col", y, y + cols if i < rows - 1 else -1, i, j)


def wire_conductances(parts: Parts, dtype) -> tuple[np.ndarray, np.ndarray]:
    row, col = parts.r_row.astype(dtype), parts.r_col.astype(dtype)
    row[:, 0] += parts.r_driver.astype(dtype)
    col[-1] += parts.r_sense.astype(dtype)
    return 1 / row, 1 / col


def _currents(g, gr, gc, x, y, v):
    """Current into every node, branch by branch: small differences are taken before products."""
    cell = g * (x - y)
    left = gr * (np.concatenate([v[:, None], x[:, :-1]], 1) - x)
    down = gc * (y - np.concatenate([y[1:], np.zeros_like(y[:1])], 0))
    into_x = left - cell
    into_x[:, :-1] -= left[:, 1:]
    into_y = cell - down
    into_y[1:] += down[:-1]
    return into_x, into_y


def nodal_voltages(parts: Parts, v: np.ndarray, refine: int = 4):
    """v [rows, batch] -> (x, y, sense current [cols, batch]); extended precision where it exists.

    The sparse factorisation is in double; every refinement takes its residual in long double from
    the branches, not from summed diagonals, so it converges to the answer of the given resistors.
    """
    rows, cols = parts.g_cell.shape
    n = rows * cols
    gr, gc = wire_conductances(parts, np.longdouble)
    where, out, value = [], [], []
    ground = np.zeros(2 * n)
    for kind, a, b, i, j in _branches(parts):
        g = float({"cell": parts.g_cell, "row": gr, "col": gc}[kind][i, j])
        if a < 0 or b < 0:
            ground[max(a, b)] += g
        elif g > 0:
            where.append(a)
            out.append(b)
            value.append(g)
    half = sparse.coo_matrix((value, (where, out)), (2 * n, 2 * n)).tocsr()
    links = half + half.T
    count, label = connected_components(links, directed=False)
    tied = np.zeros(count, bool)
    tied[label[ground > 0]] = True
    alive = tied[label]  # nodes that some path ties to a terminal; the rest is at 0 V by convention
    diagonal = np.asarray(links.sum(1)).ravel() + ground
    keep = sparse.diags(alive.astype(float))
    matrix = sparse.diags(np.where(alive, diagonal, 1.0)) - keep @ links @ keep
    solver = splu(
        matrix.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        options={"SymmetricMode": True},
        diag_pivot_thresh=0.0,
    )
    batch = v.shape[1]
    volts = v.astype(np.longdouble)
    x = np.zeros((rows, cols, batch), np.longdouble)
    y = np.zeros_like(x)
    g3, gr3, gc3 = (a.astype(np.longdouble)[..., None] for a in (parts.g_cell, gr, gc))
    for _ in range(refine):
        into_x, into_y = _currents(g3, gr3, gc3, x, y, volts)
        residual = np.concatenate([into_x.reshape(n, batch), into_y.reshape(n, batch)])
        step = solver.solve(np.where(alive[:, None], residual, 0).astype(np.float64))
        x += step[:n].reshape(x.shape)
        y += step[n:].reshape(y.shape)
    return x, y, gc3[-1] * y[-1]


def exact_operator(parts: Parts, digits: int = 60) -> np.ndarray:
    """[cols, rows] in 60-digit arithmetic; for small tiles."""
    with mpmath.workdps(digits):
        rows, cols = parts.g_cell.shape
        n = rows * cols
        matrix, drive = mpmath.zeros(2 * n), mpmath.zeros(2 * n, rows)
        last = [mpmath.mpf(0)] * cols
        for kind, a, b, i, j in _branches(parts):
            if kind == "cell":
                g = mpmath.mpf(float(parts.g_cell[i, j]))
            elif kind == "row":
                extra = mpmath.mpf(float(parts.r_driver[i])) if j == 0 else 0
                g = 1 / (mpmath.mpf(float(parts.r_row[i, j])) + extra)
                if j == 0:
                    drive[b, i] = g
            else:
                extra = mpmath.mpf(float(parts.r_sense[j])) if i == rows - 1 else 0
                g = 1 / (mpmath.mpf(float(parts.r_col[i, j])) + extra)
                if i == rows - 1:
                    last[j] = g
            for end, other in ((a, b), (b, a)):
                if end >= 0:
                    matrix[end, end] += g
                    if other >= 0:
                        matrix[end, other] -= g
        volts = mpmath.inverse(matrix) * drive
        bottom = n + (rows - 1) * cols
        return np.array(
            [[float(last[k] * volts[bottom + k, m]) for m in range(rows)] for k in range(cols)]
        )
