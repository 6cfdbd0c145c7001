"""A torch layer -> what its controller orders, and what surrounds its tiles."""

import numpy as np

from netlists.errors import InputError
from nnmap.mapping.converters import Adc, Dac
from nnmap.mapping.encode import normalise
from nnmap.mapping.kinds import Mappable, groups_of, kind_of
from nnmap.mapping.periphery import Periphery
from nnmap.mapping.placement import Shape, place
from nnmap.mapping.plan import MappingPlan
from nnmap.mapping.programme import Programme
from nnmap.training.parametrised import weight_form


def programmed(layer: Mappable, plan: MappingPlan) -> Programme:
    """The layer's weights as orders to its tiles; raises InputError unless they are finite."""
    # What a parametrisation makes of a NaN may be finite: a sign.
    if not all(bool(p.isfinite().all()) for p in layer.parameters()):
        raise InputError("the layer holds NaN or infinite weights; it cannot be programmed.")
    groups = groups_of(layer)
    outputs = layer.weight.shape[0] // groups
    w, scale = normalise(layer.weight.reshape(groups, outputs, -1))
    encoding = plan.encoder()
    shape = Shape(inputs=w.shape[1], outputs=outputs, groups=groups)
    return Programme.of(
        w,
        scale,
        spec=plan.spec,
        encoding=encoding,
        placement=place(shape, plan.spec, encoding),
        binary=weight_form(layer) is not None and bool((np.abs(w) == 1).all()),
        offset_faults=plan.offset_faults,
        levels=plan.levels,
    )


def surrounded(layer: Mappable, plan: MappingPlan, x_max: float) -> Periphery:
    """Converters and shape of a layer, its ADC still without a range."""
    kind = kind_of(layer)
    assert kind is not None
    dac = Dac(
        bits=plan.dac_bits,
        x_max=x_max,
        v_read=plan.spec.v_read,
        serial=plan.inputs == "serial",
        negative=plan.negative,
    )
    return Periphery(
        dac=dac,
        adc=Adc(bits=None, i_max=1.0, signed=plan.negative == "negative drive"),
        bias=None if layer.bias is None else layer.bias.detach().clone(),
        window=kind.window(layer),
    )
