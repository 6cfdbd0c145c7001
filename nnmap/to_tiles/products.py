"""Every matrix product that a network computes, seen below torch's own functions.

Whatever a module calls, be it a layer, `F.linear`, `@` or `einsum`, arrives at a few operations of
torch's dispatcher. There it is seen which factors follow from the network's input and which are
constants: the matrices that might lie on tiles.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nnmap.mapping.kinds import kind_of
from nnmap.to_tiles.factors import Matrix, factors


@dataclass(frozen=True, kw_only=True)
class Product:
    """A matrix product that no layer of a mappable kind computes.

    module, kind: the name and class of the module that computes it.
    constants: names of the constant factor; none for one that has no name.
    activations: whether both factors follow from the network's input.
    matrix: (groups, inputs, outputs).
    """

    module: str
    kind: str
    constants: tuple[str, ...] = ()
    activations: bool = False
    matrix: Matrix


class Products(TorchDispatchMode):
    """Collects the matrix products of a network while it runs in this context.

    found: the products, each once, in order.  used: names of the constants that took part in
    anything.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[Product, None] = {}
        self.used: set[str] = set()
        self._constants: dict[StorageWeakRef, frozenset[str]] = {}
        self._from_input: set[StorageWeakRef] = set()
        self._running: list[tuple[str, nn.Module]] = []
        self._ignored = 0
        self._batch = 1

    @contextmanager
    def of(self, network: nn.Module, x: Tensor) -> Iterator[None]:
        """While the network runs on inputs x [batch, ...]."""
        self._constants, self._running = {}, [("", network)]
        for name, tensor in named_tensors(network):
            storage = _storage(tensor)
            if storage is not None:
                self._constants[storage] = self._constants.get(storage, frozenset()) | {name}
        self._from_input = {StorageWeakRef(x.untyped_storage())}
        self._batch = len(x)
        with ExitStack() as stack:
            for name, module in network.named_modules():
                self._follow(stack, name, module)
            stack.enter_context(self)
            yield
        self._constants, self._from_input = {}, set()

    @contextmanager
    def ignored(self) -> Iterator[None]:
        """While a layer runs whose product is known."""
        self._ignored += 1
        try:
            yield
        finally:
            self._ignored -= 1

    def _follow(self, stack: ExitStack, name: str, module: nn.Module) -> None:
        def enter(*_: Any) -> None:
            self._running.append((name, module))

        def leave(*_: Any) -> None:
            self._running.pop()

        stack.callback(module.register_forward_pre_hook(enter).remove)
        stack.callback(module.register_forward_hook(leave, always_call=True).remove)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the operation; note it, and what follows from the input and from which constants."""
        result = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs or {}))
        keys = [_storage(leaf) for leaf in leaves if isinstance(leaf, Tensor)]
        names = frozenset[str]().union(*(self._constants.get(key, ()) for key in keys if key))
        self.used |= names
        depends = any(key in self._from_input for key in keys if key)
        if depends and not self._ignored:
            self._note(func, args, leaves)
        for leaf in tree_leaves(result):
            storage = _storage(leaf) if isinstance(leaf, Tensor) else None
            if storage is None:
                continue
            if depends:
                self._from_input.add(storage)
            elif names:
                self._constants[storage] = self._constants.get(storage, frozenset()) | names
        return result

    def _note(self, func: Any, args: tuple[Any, ...], leaves: list[Any]) -> None:
        name, module = self._running[-1]
        if kind_of(module) is not None:
            return  # a layer that was left digital, which its own row tells
        kind = type(module).__name__
        if any(isinstance(leaf, torch.ScriptObject) for leaf in leaves):  # a packed matrix
            inputs, outputs = (int(getattr(module, f"{k}_features", 0)) for k in ("in", "out"))
            self.found[Product(module=name, kind=kind, matrix=(1, inputs, outputs))] = None
            return
        found = factors(func._schema.name.partition("::")[2], args, self._batch)
        if found is None:
            return
        constant = [t for t in found.tensors if _storage(t) not in self._from_input]
        for tensor, matrix in found.matrices:
            if tensor is not None and any(tensor is t for t in constant):
                storage = _storage(tensor)
                names = self._constants.get(storage, frozenset()) if storage else frozenset()
                self.found[
                    Product(module=name, kind=kind, constants=tuple(sorted(names)), matrix=matrix)
                ] = None
        if not constant:
            for _, matrix in found.matrices[: 2 if found.matrices[0][0] is None else 1]:
                self.found[Product(module=name, kind=kind, activations=True, matrix=matrix)] = None


def named_tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that a network holds, as parameter, buffer, attribute or in a list of them."""
    yield from network.named_parameters(remove_duplicate=False)
    yield from network.named_buffers(remove_duplicate=False)
    for name, module in network.named_modules(remove_duplicate=False):
        prefix = f"{name}." if name else ""
        for key, value in vars(module).items():
            if key in ("_parameters", "_buffers", "_modules"):
                continue
            if isinstance(value, Tensor):
                yield prefix + key, value
            elif isinstance(value, list | tuple | dict):
                parts = value.items() if isinstance(value, dict) else enumerate(value)
                yield from ((f"{prefix}{key}.{k}", v) for k, v in parts if isinstance(v, Tensor))


def _storage(tensor: Tensor) -> StorageWeakRef | None:
    """What views of one tensor share; None for tensors without, as sparse ones are."""
    try:
        return StorageWeakRef(tensor.untyped_storage())
    except (NotImplementedError, RuntimeError):
        return None
