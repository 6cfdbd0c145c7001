"""How far a network keeps its accuracy from plain torch to quantised weights to ideal tiles."""

from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from nnmap.mapping.plan import MappingPlan
from nnmap.to_tiles import map_network
from nnmap.training.data import Dataset
from nnmap.training.quantise import plain, quantise_aware, unquantised
from nnmap.training.recipe import accuracy
from nnmap.watch import mapped_layers

SAMPLE = 512  # training images that set converter ranges
BATCH = 250
FORMS = ("unmapped", "quantised", "ideal", "converted")


@dataclass(frozen=True, kw_only=True)
class MappingAccuracy:
    """Test accuracy of one network in four forms, as fractions.

    unmapped: plain torch.  quantised: plain torch with weights of the plan's bits.
    ideal: on tiles at IDEAL without converters.  converted: the same with the plan's converters.
    adc_clipped: fraction of conversions that saturated in the last.
    """

    unmapped: float
    quantised: float
    ideal: float
    converted: float
    adc_clipped: float

    @property
    def spread(self) -> float:
        """Largest difference between the unmapped, the quantised and the ideal-mapped network."""
        three = (self.unmapped, self.quantised, self.ideal)
        return max(three) - min(three)


def measure_mapping(model: nn.Module, plan: MappingPlan, data: Dataset) -> MappingAccuracy:
    """Measure a network on the test images of `data`, which are in the form it takes.

    A quantisation-aware network is unmapped with its weights as trained, before rounding. Converter
    ranges are set from training images. Arithmetic on tiles is float32.
    """
    sample = data.train_x[:SAMPLE]
    bits = plan.weight_bits
    held = plain(model)
    quantised = held if bits is None else plain(quantise_aware(held, bits))

    def mapped(chosen: MappingPlan) -> nn.Module:
        return map_network(held, chosen, rng=np.random.default_rng(0), sample=sample).on().float()

    def score(network: nn.Module) -> float:
        return accuracy(network, data.test_x, data.test_y, batch=BATCH)

    converted = mapped(plan)
    on_tiles = score(converted)
    clips = [layer.clips for layer in mapped_layers(converted).values()]
    return MappingAccuracy(
        unmapped=score(unquantised(model)),
        quantised=score(quantised),
        ideal=score(mapped(replace(plan, dac_bits=None, adc_bits=None, inputs="parallel"))),
        converted=on_tiles,
        adc_clipped=sum(c.adc for c in clips) / max(1, sum(c.adc_of for c in clips)),
    )
