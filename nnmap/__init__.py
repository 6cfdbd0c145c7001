"""Networks on tiles: encoding, placement, converters, faults, fidelities."""

from nnmap.convert import MappingPlan, at_fidelity, inject_faults, map_network, mapped_layers
from nnmap.converters import Adc, Dac
from nnmap.convolution import MappedConv2d
from nnmap.data import Dataset
from nnmap.encode import ENCODINGS, Balanced, Unbalanced
from nnmap.layers import MappedLayer, MappedLinear
from nnmap.matrix import Matrix
from nnmap.models import bnn_mlp
from nnmap.operator import Fidelity
from nnmap.resnet import ResNetCifar, load_checkpoint, resnet20
from nnmap.slicing import SlicedOffset, SlicedPair, Slicing
from nnmap.table import MappingRow, MappingTable, mapping_table
from nnmap.training import Recipe, accuracy, train

__all__ = [
    "ENCODINGS",
    "Adc",
    "Balanced",
    "Dac",
    "Dataset",
    "Fidelity",
    "MappedConv2d",
    "MappedLayer",
    "MappedLinear",
    "MappingPlan",
    "MappingRow",
    "MappingTable",
    "Matrix",
    "Recipe",
    "ResNetCifar",
    "SlicedOffset",
    "SlicedPair",
    "Slicing",
    "Unbalanced",
    "accuracy",
    "at_fidelity",
    "bnn_mlp",
    "inject_faults",
    "load_checkpoint",
    "map_network",
    "mapped_layers",
    "mapping_table",
    "resnet20",
    "train",
]
