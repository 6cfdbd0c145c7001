"""Exact crossbar solver: operators, node voltages, updates and gradients by nested dissection.

torch is imported only by `torch_backend` and `torch_function`.
"""

from circuitsim.dissection.adjoint import Gradient, operator_vjp
from circuitsim.dissection.crossbar_circuit import Crossbar, crossbar
from circuitsim.dissection.injection import Injection
from circuitsim.dissection.operator import (
    Factorisation,
    effective_operator,
    factorisation_bytes,
    factorise,
    node_voltages,
    operator_bytes,
)
from circuitsim.dissection.update import low_rank_operator, updated_factorisation, updated_operator

__all__ = [
    "Crossbar",
    "Factorisation",
    "Gradient",
    "Injection",
    "crossbar",
    "effective_operator",
    "factorisation_bytes",
    "factorise",
    "low_rank_operator",
    "node_voltages",
    "operator_bytes",
    "operator_vjp",
    "updated_factorisation",
    "updated_operator",
]
