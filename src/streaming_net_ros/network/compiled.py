"""A group as machine code: torch.compile's Inductor, ahead of time.

Ahead of time, because ``torch.compile`` itself checks its guards in Python at every call, which
costs more than a small group computes (docs/tuning.md). Code is kept in a cache of the user's
own, by a fingerprint of everything that it depends on: a process that is started again loads it in
a moment. Imported by ``backends`` when it is needed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from streaming_net_ros.network.group import LayerGroup
from streaming_net_ros.network.runner import Compute

# A header compiled for later groups costs the first one more than all of them save.
_OPTIONS: dict[str, Any] = {"aot_inductor.precompile_headers": False}


class Positional(nn.Module):
    """A group with one argument per source."""

    def __init__(self, group: LayerGroup) -> None:
        super().__init__()
        self.group = group

    def forward(self, *states: Tensor) -> Tensor:
        """The state of a frame from all sources' states."""
        state: Tensor = self.group(dict(zip(self.group.sources, states, strict=True)))
        return state


def compiled(group: LayerGroup, examples: tuple[Tensor, ...], torch_threads: int) -> Compute:
    """The group's machine code, from the cache or compiled now (some ten seconds).

    Args:
        group: with its weights, which become a part of the code.
        examples: a state per source.
        torch_threads: that the code is written for; torch is set to them.
    """
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    with quiet(), torch.no_grad():
        program = torch.export.export(Positional(group).eval(), examples)
        path = code_cache() / f"{_fingerprint(program, examples, torch_threads)}.pt2"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                made = Path(folder) / path.name
                aoti_compile_and_package(
                    program, package_path=str(made), inductor_configs=dict(_OPTIONS)
                )
                made.replace(path)  # whole or not at all: two processes may compile the same
        where = examples[0].device
        # Without a number it is loaded to the first GPU. Older versions of torch know none.
        options: dict[str, Any] = {"device_index": where.index} if where.type == "cuda" else {}
        package = aoti_load_package(str(path), **options)
    # Without the wrapper that sorts arguments into trees: 40 us in Python, at every frame.
    run = package.loader.boxed_run

    def compute(states: Sequence[Tensor]) -> Tensor:
        state: Tensor = run(list(states))[0]
        return state

    return compute


def code_cache() -> Path:
    """Where compiled groups are kept: below XDG_CACHE_HOME, or ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "streaming_net_ros" / "compiled"


def _fingerprint(program: Any, examples: tuple[Tensor, ...], torch_threads: int) -> str:
    """Of everything the code depends on: graph, weights, torch, processor or GPU, threads."""
    told = hashlib.sha256()
    machine = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {torch.__version__}"
    if examples[0].is_cuda:
        machine += f" {torch.cuda.get_device_name(examples[0].device)}"
    layouts = [(tuple(e.shape), e.stride(), str(e.dtype)) for e in examples]
    told.update(f"{machine} {torch_threads} {_OPTIONS} {layouts}\n".encode())
    told.update(program.graph_module.print_readable(print_output=False).encode())
    for name, tensor in sorted({**program.state_dict, **program.constants}.items()):
        told.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.stride()}".encode())
        numbers = tensor.detach().cpu().contiguous().flatten()
        told.update(numbers.view(torch.uint8).numpy().tobytes())
    return told.hexdigest()[:32]


@contextmanager
def quiet() -> Iterator[None]:
    """Without the words that exporters of torch have for their own developers."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
