"""Threads: shares cover a range, errors surface, forks and callers on several threads work."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from circuitsim.dissection import crossbar, effective_operator
from circuitsim.dissection.threads import run_together, shares


@pytest.mark.parametrize(("count", "parts", "unit"), [(0, 2, 1), (1, 4, 1), (17, 3, 8), (64, 2, 8)])
def test_shares(count, parts, unit):
    got = shares(count, parts, unit)
    assert got[0][0] == 0 and got[-1][1] == count and len(got) <= max(1, parts)
    assert all(a[1] == b[0] for a, b in pairwise(got))


def test_errors_surface():
    with pytest.raises(ZeroDivisionError):
        run_together([lambda: None, lambda: 1 // 0])


def _operator(seed):
    g = np.random.default_rng(seed).choice([1e-6, 1e-3], (100, 100))
    return effective_operator(crossbar(g), threads=2)[0]


def test_several_callers_at_once():
    want = [_operator(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for got, expected in zip(pool.map(_operator, list(range(4)) * 5), want * 5, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(60)
def test_a_forked_child_has_its_own_threads():
    want = _operator(1)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(_operator, (1,)), want)
