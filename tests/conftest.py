"""Skips with a reason; in required mode a missing simulator is a failure."""

import os

import pytest
from hypothesis import HealthCheck, settings

from circuitsim import default_session
from netlists import MissingToolError

settings.register_profile(
    "suite", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


def _ngspice_problem():
    try:
        default_session()
    except MissingToolError as problem:
        return str(problem).splitlines()[0]
    return None


def pytest_collection_modifyitems(items):
    marked = [item for item in items if item.get_closest_marker("ngspice")]
    problem = _ngspice_problem() if marked else None
    if problem and os.environ.get("XBARVERIFY_NGSPICE") != "required":
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=problem))
    if not os.environ.get("XBARVERIFY_DATA"):
        for item in items:
            if item.get_closest_marker("data"):
                reason = "XBARVERIFY_DATA does not name a folder with the data sets"
                item.add_marker(pytest.mark.skip(reason=reason))
