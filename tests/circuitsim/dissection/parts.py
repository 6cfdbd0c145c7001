"""Random crossbars as resistances: what the oracles assemble, sharing no code with the solver."""

from dataclasses import dataclass

import numpy as np

from circuitsim.dissection import Crossbar, crossbar


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A tile as resistances: what the oracles assemble, sharing no code with the solver."""

    g_cell: np.ndarray
    r_row: np.ndarray
    r_col: np.ndarray
    r_driver: np.ndarray
    r_sense: np.ndarray

    def build(self) -> Crossbar:
        return crossbar(self.g_cell, self.r_row, self.r_col, self.r_driver, self.r_sense)


def log_uniform(rng: np.random.Generator, low: float, high: float, shape) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def random_parts(
    rng: np.random.Generator,
    rows: int,
    cols: int,
    cells: tuple[float, float] = (1e-6, 1e-3),
    wires: tuple[float, float] = (0.5, 2.0),
    binary: bool = True,
) -> Parts:
    shape = (rows, cols)
    g = rng.choice(cells, shape) if binary else log_uniform(rng, *cells, shape)
    return Parts(
        g_cell=g,
        r_row=log_uniform(rng, *wires, shape),
        r_col=log_uniform(rng, *wires, shape),
        r_driver=log_uniform(rng, *wires, rows),
        r_sense=log_uniform(rng, *wires, cols),
    )
