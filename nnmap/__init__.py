"""Networks on tiles: programmes, chips, fidelities, mitigations, measures."""

from nnmap.chip import HEALTHY, AnyChip, Chip, LayerOnChip, MeasuredChip
from nnmap.fidelity.extraction import Extraction
from nnmap.fidelity.fidelity import Fidelity
from nnmap.fidelity.operator_store import OperatorStore
from nnmap.layers.convolution import MappedConvolution
from nnmap.layers.layer import MappedLayer
from nnmap.layers.linear import MappedLinear
from nnmap.layers.records import ReadNoise
from nnmap.mapping.converters import Adc, Dac
from nnmap.mapping.encode import ENCODINGS, Balanced, Encoding, Unbalanced
from nnmap.mapping.periphery import Periphery
from nnmap.mapping.placement import Placement, Shape, place
from nnmap.mapping.plan import MappingPlan
from nnmap.mapping.programme import Programme
from nnmap.mapping.slicing import SlicedOffset, SlicedPair, Slicing
from nnmap.measures.cost import Cost, Figures, LayerWork, cost, figures, workload
from nnmap.measures.faulty_weights import faults_as_weights
from nnmap.measures.fidelity_error import FidelityError, layer_error, network_errors
from nnmap.measures.loss_by_cause import LossByCause, loss_by_cause
from nnmap.measures.mapping_accuracy import MappingAccuracy, measure_mapping
from nnmap.measures.mapping_table import MappingRow, MappingTable, mapping_table
from nnmap.measures.power import LayerPower, array_power, tile_power
from nnmap.network import MappedNetwork
from nnmap.networks.checkpoint import load_checkpoint, save_checkpoint
from nnmap.networks.cnns import (
    alexnet,
    bnn_vgg,
    convnet_quick,
    lenet_caffe,
    lenet_remeco,
    mobilenet_v2,
    vgg13,
)
from nnmap.networks.perceptrons import bnn_mlp, lenet, mlp
from nnmap.networks.resnet import ResNetCifar, resnet20
from nnmap.to_tiles import map_network
from nnmap.training.data import Dataset
from nnmap.training.quantise import plain, quantise_aware
from nnmap.training.recipe import Recipe, accuracy, fit
from nnmap.watch import mapped_layers

__all__ = [
    "ENCODINGS",
    "HEALTHY",
    "Adc",
    "AnyChip",
    "Balanced",
    "Chip",
    "Cost",
    "Dac",
    "Dataset",
    "Encoding",
    "Extraction",
    "Fidelity",
    "FidelityError",
    "Figures",
    "LayerOnChip",
    "LayerPower",
    "LayerWork",
    "LossByCause",
    "MappedConvolution",
    "MappedLayer",
    "MappedLinear",
    "MappedNetwork",
    "MappingAccuracy",
    "MappingPlan",
    "MappingRow",
    "MappingTable",
    "MeasuredChip",
    "OperatorStore",
    "Periphery",
    "Placement",
    "Programme",
    "ReadNoise",
    "Recipe",
    "ResNetCifar",
    "Shape",
    "SlicedOffset",
    "SlicedPair",
    "Slicing",
    "Unbalanced",
    "accuracy",
    "alexnet",
    "array_power",
    "bnn_mlp",
    "bnn_vgg",
    "convnet_quick",
    "cost",
    "faults_as_weights",
    "figures",
    "fit",
    "layer_error",
    "lenet",
    "lenet_caffe",
    "lenet_remeco",
    "load_checkpoint",
    "loss_by_cause",
    "map_network",
    "mapped_layers",
    "mapping_table",
    "measure_mapping",
    "mlp",
    "mobilenet_v2",
    "network_errors",
    "place",
    "plain",
    "quantise_aware",
    "resnet20",
    "save_checkpoint",
    "tile_power",
    "vgg13",
    "workload",
]
