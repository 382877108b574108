"""What computes a group's frames: the group itself, or a backend where it fits.

Owns the contract of a backend, the inputs that one is used for, and the thread count. Imported by
the makers of backends, and by whoever computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from streaming_net_ros.network.flat import flattened
from streaming_net_ros.network.group import Inputs, LayerGroup
from streaming_net_ros.network.layout import as_state

Compute = Callable[[Sequence[Tensor]], Tensor]  # states in the order of sources -> state


class Runner:
    """Computes a group's frames by a backend. Called like the group, under ``inference_mode``.

    A backend is made for one size of inputs, all of them there: the steady state. Whatever else
    comes (a source that does not exist yet, a batch) the group itself computes. One call at a
    time, from any thread; the thread is left with this runner's number of torch threads.

    Args:
        group: the group, in evaluation mode, on its device.
        compute: the backend; None for the group itself.
        examples: a state per source, as the backend is made for.
        torch_threads: of one torch operation of this group.
    """

    def __init__(
        self,
        group: LayerGroup,
        compute: Compute | None = None,
        examples: Mapping[str, Tensor] | None = None,
        torch_threads: int = 1,
    ) -> None:
        self.group = group
        self.torch_threads = torch_threads
        self._compute = compute
        self._eager = flattened(group)
        given = examples or {}
        self._made_for = tuple((s.shape, s.dtype) for s in (given[n] for n in given))
        self._sources = tuple(given)

    def leave_backend(self) -> bool:
        """The group was changed, and a backend keeps what it was made of: leave it for eager.

        Returns:
            True if there was a backend to leave.
        """
        had, self._compute = self._compute is not None, None
        return had

    def __call__(self, inputs: Inputs) -> Tensor | None:
        """The group's state for one frame, as ``LayerGroup.forward`` gives it."""
        # Asked first: setting a count makes torch forget the kernels that it has chosen.
        if torch.get_num_threads() != self.torch_threads:
            torch.set_num_threads(self.torch_threads)
        if self._compute is not None:
            heard = [s for name in self._sources if (s := inputs.get(name)) is not None]
            if tuple((s.shape, s.dtype) for s in heard) == self._made_for:
                return as_state(self._compute([as_state(s) for s in heard]))
        return self._eager(inputs)
