"""Plans cover every cell once, and their arithmetic grows like n^3."""

import numpy as np
import pytest

from circuitsim.dissection.leaf_program import LEAF
from circuitsim.dissection.merge_tree import merge_tree
from circuitsim.dissection.plan import LEAF_GROUP, MERGE, PARENT, make_plan


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (7, 13), (64, 64), (97, 31), (200, 5)])
def test_leaves_cover_every_cell_once(shape):
    count = np.zeros(shape, int)
    for leaf in merge_tree(*shape).leaves():
        count[leaf.row : leaf.row + leaf.height, leaf.col : leaf.col + leaf.width] += 1
        assert 1 <= leaf.height <= LEAF and 1 <= leaf.width <= LEAF
    assert (count == 1).all()


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("keep", [False, True])
def test_children_come_before_parents(parts, keep):
    plan = make_plan(130, 90, parts, keep)
    done: set[int] = set()
    for kind, index in plan.steps.tolist():
        if kind == LEAF_GROUP:
            done |= set(plan.groups[index, 2:].tolist())
        else:
            assert kind == MERGE
            children = np.flatnonzero(plan.nodes[:, PARENT] == index)
            assert len(children) == 2 and set(children.tolist()) <= done
            done.add(index)
    assert done == set(range(len(plan.nodes)))
    assert plan.root == len(plan.nodes) - 1


def test_work_is_cubic():
    work = {n: merge_tree(n, n).work for n in (64, 128, 256)}
    assert work[128] / work[64] < 8 and work[256] / work[128] < 8


def test_nothing_is_no_crossbar():
    with pytest.raises(ValueError, match="rows=0"):
        make_plan(0, 4, 1)
