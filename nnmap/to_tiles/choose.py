"""Which layers of a network go to tiles, and which cannot."""

from collections.abc import Iterable, Mapping

from torch import nn
from torch.nn.parameter import is_lazy

from netlists.errors import InputError
from nnmap.layers.without_weights import WithoutWeights
from nnmap.mapping.digital_product import DigitalProduct
from nnmap.mapping.kinds import NAMED, Mappable, kind_of
from nnmap.mapping.pattern import pattern_name
from nnmap.mapping.plan import MappingPlan
from nnmap.to_tiles.products import Product, named_tensors
from nnmap.training.parametrised import weight_form


def chosen_layers(network: nn.Module, plan: MappingPlan) -> dict[str, Mappable]:
    """The layers to map, by name; may be none.

    Raises InputError for layers that compute something else than their class says.
    """
    chosen: dict[str, Mappable] = {}
    unmapped: dict[str, str] = {}
    for name, layer in network.named_modules():
        if "parametrizations" in name.split("."):
            continue  # the stored form of a weight, not a layer
        within = any(name.startswith(f"{outer}.") for outer in unmapped)
        if within or not plan.chooses(name, layer):
            continue
        if isinstance(layer, nn.MultiheadAttention):  # one that could not be taken apart
            unmapped[name] = "MultiheadAttention with key and value rows or weights of its own"
        kind = kind_of(layer)
        if kind is None:
            continue
        assert isinstance(layer, Mappable)
        reason = kind.altered(layer) or _odd_weight(layer)
        if reason is None:
            chosen[name] = layer
        else:
            unmapped[name] = f"{type(layer).__name__} with {reason}"
    if unmapped:
        raise _unmapped(unmapped)
    return chosen


def _odd_weight(layer: Mappable) -> str | None:
    """Why a layer's weight cannot be taken as it is, or None."""
    if weight_form(layer) is not None:
        return _empty_weight(layer)
    if "weight" not in layer._parameters:
        return (
            "a weight that a hook or other code computes (make it a parameter again first: "
            "remove_weight_norm, remove_spectral_norm, prune.remove)"
        )
    return "no weight yet (run it once)" if is_lazy(layer.weight) else _empty_weight(layer)


def _empty_weight(layer: Mappable) -> str | None:
    shape = list(layer.weight.shape)
    return None if layer.weight.numel() else f"a weight of shape {shape}, which holds nothing"


def products_left_digital(
    products: Iterable[Product], network: nn.Module, plan: MappingPlan
) -> tuple[DigitalProduct, ...]:
    """What stays digital beside torch's own layers, as the mapping table tells it.

    Raises InputError for constant matrices that the plan does not leave digital.
    """
    left: dict[DigitalProduct, None] = {}
    unmapped: dict[str, str] = {}
    for product in products:
        unit, what = _unit(product, network)
        kind = "activations" if product.activations else product.kind
        if not product.activations and all(plan.takes(n) for n in (unit, *product.constants)):
            unmapped[unit] = what
        left[DigitalProduct(name=unit, kind=kind, matrix=product.matrix)] = None
    if unmapped:
        raise _unmapped(unmapped)
    return tuple(left)


def _unit(product: Product, network: nn.Module) -> tuple[str, str]:
    """(what a pattern names to leave a product digital, how a message tells it)."""
    module = network.get_submodule(product.module)
    inside = (m for m in module.modules() if m is not module)
    leaf = not any(isinstance(m, WithoutWeights) or kind_of(m) is not None for m in inside)
    if product.activations or leaf or not product.constants:
        made = "" if leaf or product.activations else " with a matrix that is neither parameter "
        made += "" if not made else "nor buffer (keep it as a buffer to name it alone)"
        return product.module, f"{product.kind}{made}"
    name = product.constants[0]
    return name, f"a matrix that {pattern_name(product.module)} multiplies by itself"


def _unmapped(reasons: Mapping[str, str]) -> InputError:
    listed = ", ".join(f"{pattern_name(name)}: {what}" for name, what in reasons.items())
    named = ", ".join(repr(pattern_name(name)) for name in reasons)
    return InputError(
        f"these layers have matrices but no mapping: {listed}; make them one of {NAMED}, or name "
        f"them in digital to leave them digital: digital=({named},)."
    )


def pattern_targets(network: nn.Module, products: Iterable[DigitalProduct]) -> list[str]:
    """Names that a pattern may match: layers with a matrix, and matrices by themselves."""
    held = [name for name, tensor in named_tensors(network) if tensor.ndim >= 2]
    layers = [name for name, module in network.named_modules() if kind_of(module) is not None]
    return list(dict.fromkeys([*layers, *held, *(product.name for product in products)]))


def require_use(
    network: nn.Module, used: Iterable[str], largest: Mapping[str, float | None], plan: MappingPlan
) -> None:
    """Raise InputError for layers and matrices that no input of the sample reached.

    largest: magnitude of the largest input of each layer; None for one that was not reached.
    """
    unreached = [name for name, x in largest.items() if x is None]
    named = set(used)
    idle = [
        name
        for name, parameter in network.named_parameters()
        if parameter.ndim >= 2 and name not in named and plan.takes(name)
    ]
    unused = [*unreached, *idle]
    if unused:
        shown = [pattern_name(name) for name in unused]
        raise InputError(
            f"the sample never reaches {', '.join(shown)}, so that nothing is known of what enters "
            f"there: give a sample that does, or leave it digital with digital="
            f"({', '.join(map(repr, shown))},)."
        )
    dark = [pattern_name(name) for name, x in largest.items() if x == 0]
    measured = plan.adc_bits is not None and plan.adc_range != "full"
    if dark and (measured or plan.dac_bits is not None):
        converters = "ADC has" if plan.dac_bits is None else "DAC has"
        raise InputError(
            f"nothing but zeros reaches {', '.join(dark)} on the sample, so that the {converters} "
            f"no range: give a sample that lights it, or leave it digital with digital="
            f"({', '.join(map(repr, dark))},)."
        )
