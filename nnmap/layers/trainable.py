"""Layers on tiles whose weights are parameters."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.chip import LayerOnChip
from nnmap.fidelity.fidelity import Fidelity
from nnmap.fidelity.linear_fit import InputCurve
from nnmap.fidelity.readers import Reader
from nnmap.layers.convolution import MappedConvolution
from nnmap.layers.held_operators import HeldOperators
from nnmap.layers.layer import MappedLayer
from nnmap.layers.linear import MappedLinear
from nnmap.layers.records import ReadNoise
from nnmap.mapping.periphery import Periphery
from nnmap.mapping.programme import Programme
from nnmap.mapping.straight import recorded, straight


class OperatorReader(Reader):
    """One matrix product per row group, by operators that carry gradients."""

    def __init__(self, curve: InputCurve | None) -> None:
        super().__init__()
        self.curve = curve
        self.operators: Sequence[Tensor] = ()  # only while the layer reads

    def applied(self, v: Tensor) -> Tensor:
        """See `Reader.applied`."""
        return v if self.curve is None else self.curve(v)

    def currents(self, group: int, v: Tensor) -> Tensor:
        """See `Reader.currents`."""
        return self.operators[group].T @ v

    def deviation(self, group: int, v: Tensor) -> Tensor:
        """See `Reader.deviation`."""
        return (self.operators[group].detach().T.square() @ v.detach().square()).sqrt_()


class _Saturating(torch.autograd.Function):
    """x -> x within [-1, 1]; gradients pass within, and beyond where they lead back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(-1.0, 1.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,), (gradient,) = ctx.saved_tensors, gradients
        return torch.where((x.abs() <= 1) | (gradient * x > 0), gradient, 0.0)


class _Trainable(MappedLayer):
    """What trainable layers share.

    weight: as torch shapes it, in the units of the network; held within the programme's scale.
    bias: a parameter, where the layer has one.
    """

    takes_state = True  # all of it is in the parameters and the network
    get_extra_state = nn.Module.get_extra_state
    set_extra_state = nn.Module.set_extra_state
    weight: nn.Parameter
    reader: OperatorReader

    def __init__(
        self,
        layer: LayerOnChip,
        periphery: Periphery,
        fidelity: Fidelity,
        operators: HeldOperators,
        curve: InputCurve | None,
        noise: ReadNoise | None,
    ) -> None:
        super().__init__(layer, periphery, fidelity, OperatorReader(curve), noise)
        self._held = operators
        programme = layer.programme
        scale = torch.from_numpy(programme.scale.copy())
        self.register_buffer("_scale", scale, persistent=False)
        self.weight = nn.Parameter(self._shaped(torch.from_numpy(programme.weights.copy())))
        if periphery.bias is not None:
            bias = self.bias
            assert bias is not None
            del self.bias
            self.bias = nn.Parameter(bias.clone())

    _scale: Tensor

    def _shaped(self, w: Tensor) -> Tensor:
        """Normalised weights [groups, inputs, outputs] -> weights as torch shapes them."""
        flat = w.mT.reshape(-1, w.shape[1]) * self._scale[:, None]
        window = self.periphery.window
        return flat if window is None else flat.unflatten(1, (-1, *window.kernel_shape))

    def normalised(self) -> Tensor:
        """The weights in [-1, 1], [groups, inputs, outputs]; beyond the scale they saturate.

        A saturated weight still gets the gradients that lead it back. Binary weights are the signs
        of the parameters, which gradients pass straight through.
        Raises InputError for weights that are not finite.
        """
        shape = self.programme.placement.shape
        if not bool(self.weight.detach().isfinite().all()):
            raise InputError(
                f"{self.name}: weights became NaN or infinite; lower the step size of the training."
            )
        flat = self.weight.flatten(1) / self._scale.to(self.weight)[:, None]
        kept: Tensor = _Saturating.apply(flat)  # type: ignore[no-untyped-call]
        if self.programme.binary:
            signs = torch.where(kept.detach() >= 0, 1.0, -1.0).to(kept)
            kept = straight(kept, signs) if recorded(kept) else signs
        return kept.view(shape.groups, shape.outputs, shape.inputs).mT

    def programme_now(self) -> Programme:
        """The programme of the weights as they are now."""
        return self.programme.with_weights(self.normalised().detach().double().cpu().numpy())

    def forward(self, input: Tensor) -> Tensor:
        """See the layer that is trained."""
        self.reader.operators = [o.to(self._number) for o in self._held(self.normalised())]
        try:
            result: Tensor = super().forward(input)
        finally:
            self.reader.operators = ()  # kept, they would keep the graph of this step
        return result


class TrainableLinear(_Trainable, MappedLinear):
    """A linear layer on tiles whose weights are parameters."""


class TrainableConvolution(_Trainable, MappedConvolution):
    """A convolution on tiles whose weights are parameters."""
