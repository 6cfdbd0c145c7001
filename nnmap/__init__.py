"""Networks on tiles: encoding, placement, converters, faults, fidelities."""

from nnmap.agreement import Agreement, agreement
from nnmap.checkpoint import load_checkpoint, save_checkpoint
from nnmap.chips import inject_faults, vary_devices, with_read_noise
from nnmap.cnns import (
    alexnet,
    bnn_vgg,
    convnet_quick,
    lenet_caffe,
    lenet_remeco,
    mobilenet_v2,
    vgg13,
)
from nnmap.convert import MappingPlan, at_fidelity, map_network, mapped_layers
from nnmap.converters import Adc, Dac
from nnmap.convolution import MappedConv2d
from nnmap.cost import Cost, Figures, LayerWork, cost, figures, workload
from nnmap.data import Dataset
from nnmap.encode import ENCODINGS, Balanced, Unbalanced
from nnmap.extraction import Extraction
from nnmap.faults_as_weights import faults_as_weights
from nnmap.fidelity_error import FidelityError, fidelity_error, network_errors
from nnmap.layers import MappedLayer, MappedLinear, ReadNoise
from nnmap.matrix import Matrix
from nnmap.models import bnn_mlp, lenet, mlp
from nnmap.operator import Fidelity
from nnmap.operator_store import OperatorStore
from nnmap.power import LayerPower, array_power, tile_power
from nnmap.quantise import plain, quantise_aware
from nnmap.resnet import ResNetCifar, resnet20
from nnmap.slicing import SlicedOffset, SlicedPair, Slicing
from nnmap.table import MappingRow, MappingTable, mapping_table
from nnmap.training import Recipe, accuracy, fit

__all__ = [
    "ENCODINGS",
    "Adc",
    "Agreement",
    "Balanced",
    "Cost",
    "Dac",
    "Dataset",
    "Extraction",
    "Fidelity",
    "FidelityError",
    "Figures",
    "LayerPower",
    "LayerWork",
    "MappedConv2d",
    "MappedLayer",
    "MappedLinear",
    "MappingPlan",
    "MappingRow",
    "MappingTable",
    "Matrix",
    "OperatorStore",
    "ReadNoise",
    "Recipe",
    "ResNetCifar",
    "SlicedOffset",
    "SlicedPair",
    "Slicing",
    "Unbalanced",
    "accuracy",
    "agreement",
    "alexnet",
    "array_power",
    "at_fidelity",
    "bnn_mlp",
    "bnn_vgg",
    "convnet_quick",
    "cost",
    "faults_as_weights",
    "fidelity_error",
    "figures",
    "fit",
    "inject_faults",
    "lenet",
    "lenet_caffe",
    "lenet_remeco",
    "load_checkpoint",
    "map_network",
    "mapped_layers",
    "mapping_table",
    "mlp",
    "mobilenet_v2",
    "network_errors",
    "plain",
    "quantise_aware",
    "resnet20",
    "save_checkpoint",
    "tile_power",
    "vary_devices",
    "vgg13",
    "with_read_noise",
    "workload",
]
