"""Networks on tiles: encoding, placement, converters, faults, fidelities."""

from nnmap.convert import MappingPlan, at_fidelity, inject_faults, map_network, mapped_layers
from nnmap.converters import Adc, Dac
from nnmap.data import Dataset
from nnmap.encode import ENCODINGS, Balanced, Unbalanced
from nnmap.layers import MappedLinear, Matrix
from nnmap.models import bnn_mlp
from nnmap.operator import Fidelity
from nnmap.training import Recipe, accuracy, train

__all__ = [
    "ENCODINGS",
    "Adc",
    "Balanced",
    "Dac",
    "Dataset",
    "Fidelity",
    "MappedLinear",
    "MappingPlan",
    "Matrix",
    "Recipe",
    "Unbalanced",
    "accuracy",
    "at_fidelity",
    "bnn_mlp",
    "inject_faults",
    "map_network",
    "mapped_layers",
    "train",
]
