"""Layers by their torch.nn names, with checked arguments.

Owns the table of layers that a network file may use, and the building of one stack of layers with
its shape followed through: torch itself tells the shape, on its ``meta`` device, so nothing here
repeats a formula of torch. Knows nothing of graphs. Imported by ``shapes`` and ``group``.
"""

from __future__ import annotations

import functools
import inspect
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from streaming_net_ros.errors import NetworkFileError
from streaming_net_ros.network.named import checked_arguments, find_named, first_line
from streaming_net_ros.network.schema import ImageInput, LayerSpec, VectorInput

Shape = tuple[int, ...]  # (channels, height, width) or (features,)

# The rooms of torch.nn whose modules take one tensor and give one tensor.
_ROOMS = ("activation", "batchnorm", "channelshuffle", "conv", "dropout", "flatten", "linear",
          "instancenorm", "normalization", "padding", "pixelshuffle", "pooling",
          "upsampling")  # fmt: skip
_REFUSED = {
    *("Bilinear", "MultiheadAttention", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"),  # two inputs
    *("FractionalMaxPool2d", "FractionalMaxPool3d"),  # random even in evaluation
}
# Arguments that say how wide the arriving state is: filled in where the file leaves them out.
_WIDTH_ARGUMENTS = ("in_channels", "in_features", "num_features", "num_channels")
MAX_STATE_ELEMENTS = 1 << 28
MAX_PARAMETERS = 1 << 31


def known_layers() -> dict[str, type[nn.Module]]:
    """Every layer that a network file may name."""
    layers = {}
    for name in dir(nn):
        member = getattr(nn, name)
        if (
            inspect.isclass(member)
            and issubclass(member, nn.Module)
            and not name.startswith("Lazy")
            and name not in _REFUSED
            and member.__module__.rsplit(".", 1)[-1] in _ROOMS
        ):
            layers[name] = member
    return layers


class SharedReference(nn.Module):
    """A use of a shared stack. The stack is registered, and its weights stored, elsewhere."""

    def __init__(self, name: str, stack: nn.Module) -> None:
        super().__init__()
        self.name = name
        self._stack = (stack,)  # in a tuple: torch must not register it a second time

    @property
    def stack(self) -> nn.Module:
        """The shared stack."""
        return self._stack[0]

    def forward(self, state: Tensor) -> Tensor:
        """The shared stack, applied."""
        result: Tensor = self._stack[0](state)
        return result


# (name, arriving shape, where) -> the one stack of that name, and the shape that leaves it
Share = Callable[[str, Shape, str], tuple[nn.Module, Shape]]


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Random numbers that depend on seed and name alone, whatever was drawn before.

    So every process that builds a group without a weights file draws the same weights for it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(f"{seed}/{name}".encode()))
        yield


def build_stack(
    specs: Sequence[LayerSpec], shape: Shape, share: Share, where: str
) -> tuple[nn.Sequential, Shape]:
    """A stack of layers for states of a shape, and the shape that leaves it.

    Layers are created on torch's default device (``meta`` while shapes are inferred) and drawn
    from its random generator.

    Args:
        specs: the layers, in order.
        shape: the arriving state's, without the batch.
        share: gives the stack that a ``{shared: name}`` stands for.
        where: the place in the network file, for errors.

    Raises:
        NetworkFileError: an unknown layer or argument, or shapes that do not fit.
    """
    stack = nn.Sequential()
    for number, spec in enumerate(specs):
        place = f"{where}[{number}].{spec.name}"
        if spec.is_shared:
            shared, shape = share(spec.name, shape, place)
            stack.append(SharedReference(spec.name, shared))
            continue
        make = _layer_maker(spec, shape, place)
        with torch.device(
            "meta"
        ):  # first without memory: too large a layer is an error, not a crash
            probe = make()
        shape = shape_after(probe, shape, place)
        stack.append(make())
    return stack, shape


def shape_after(probe: nn.Module, shape: Shape, where: str) -> Shape:
    """The shape of a state after a module that lives on ``meta``: torch tells, nothing computes.

    Raises:
        NetworkFileError: torch refuses the shape, or what leaves is not a state.
    """
    try:
        with torch.no_grad():
            result = probe.eval()(torch.empty((1, *shape), device="meta"))
    except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError) as error:
        raise NetworkFileError(
            "this layer cannot take the state that arrives",
            where=where,
            got=f"state {shape} ({first_line(error)})",
            remedy="change the layer or the one before it",
        ) from None
    if not isinstance(result, Tensor) or result.dim() not in (2, 4) or result.shape[0] != 1:
        raise NetworkFileError(
            "what leaves this layer is not a state",
            where=where,
            expected="(channels, height, width) or (features,)",
            got=tuple(result.shape[1:]) if isinstance(result, Tensor) else type(result).__name__,
        )
    if result.numel() == 0 or result.numel() > MAX_STATE_ELEMENTS:
        raise NetworkFileError(
            "state of an impossible size",
            where=where,
            expected=f"1 to {MAX_STATE_ELEMENTS} numbers",
            got=tuple(result.shape[1:]),
        )
    return tuple(result.shape[1:])


def _layer_maker(spec: LayerSpec, shape: Shape, where: str) -> Callable[[], nn.Module]:
    """What builds one layer, its name, arguments and size already checked."""
    factory = find_named(
        spec.name,
        known_layers(),
        where,
        kind="layer",
        expected="the name of a torch.nn layer that takes one tensor and gives one",
    )
    widths = dict.fromkeys(_WIDTH_ARGUMENTS, shape[0])
    arguments = checked_arguments(factory, spec.args, where, filled=widths)
    try:
        with torch.device("meta"):
            size = sum(p.numel() for p in factory(**arguments).parameters())
        if size > MAX_PARAMETERS:
            raise ValueError(f"{size} parameters; the limit is {MAX_PARAMETERS}")
    except (TypeError, ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise NetworkFileError(
            f"torch refuses these arguments ({first_line(error)})",
            where=where,
            got=dict(spec.args),
        ) from None
    return functools.partial(factory, **arguments)


class InputNormalisation(nn.Module):
    """An input as groups hear it: ``(x / 255 - mean) / std``; a vector without ``/ 255``.

    An image travels in 8 bits; each group that hears it scales it on its own device.
    """

    def __init__(self, given: ImageInput | VectorInput) -> None:
        super().__init__()
        rank = len(given.shape)
        self.register_buffer("mean", _per_channel(given.mean, rank), persistent=False)
        self.register_buffer("std", _per_channel(given.std, rank), persistent=False)
        self.scale = 1 / 255 if isinstance(given, ImageInput) else 1.0

    def forward(self, state: Tensor) -> Tensor:
        """Normalised state; (batch, channels, height, width) or (batch, features)."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return (state.to(torch.float32) * self.scale - mean) / std


def _per_channel(value: float | Sequence[float], rank: int) -> Tensor:
    """Numbers per channel, shaped to meet (batch, channels, ...)."""
    values = torch.tensor(value if isinstance(value, Sequence) else [value], device="cpu")
    return values.to(torch.float32).reshape(-1, *([1] * (rank - 1)))
