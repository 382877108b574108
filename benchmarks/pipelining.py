"""The chain as stages of ``torch.distributed.pipelining``, for ``peers.py``: gloo, on the CPU.

    python benchmarks/pipelining.py NETWORK STORE RANK RANKS FRAMES RATE_HZ

One process is one stage and holds its share of the groups. A frame is a step of the schedule with
a single micro-batch: forward-only steps wait for no stage but the neighbours, so that several
frames are under way (larger batches would have to be gathered first). A rate of 0 is full speed.
Images come from memory; there is no ROS in it. Prints one line of JSON: when each frame was begun
or done here, and the CPU time.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

from streaming_net_ros.network import NetworkSpec, StreamingNetwork, as_state, read_network_file

WARM_UP_FRAMES = 40


class Stage(nn.Module):
    """Groups of a chain after each other.

    What goes in and out is contiguous: gloo sends nothing else.
    """

    def __init__(self, network: StreamingNetwork, names: Sequence[str]) -> None:
        super().__init__()
        self._groups = [network.group(name) for name in names]

    def forward(self, state: Tensor) -> Tensor:
        """The last group's state."""
        for group in self._groups:
            (source,) = group.sources
            state = group({source: as_state(state)})
        return state.contiguous()


def share(spec: NetworkSpec, rank: int, ranks: int) -> list[str]:
    """The groups of a stage."""
    names = [group.name for group in spec.groups]
    return names[rank * len(names) // ranks : (rank + 1) * len(names) // ranks]


def main() -> None:
    path, store, *numbers = sys.argv[1:]
    rank, ranks, frames = map(int, numbers[:3])
    rate_hz = float(numbers[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    spec = read_network_file(Path(path))
    network = StreamingNetwork(spec).eval()
    stage = PipelineStage(
        Stage(network, share(spec, rank, ranks)), rank, ranks, torch.device("cpu")
    )
    schedule = ScheduleGPipe(stage, n_microbatches=1)
    shape = network.shapes[spec.primary_input]
    images = torch.randint(0, 256, (1, *shape), dtype=torch.uint8)
    at_s: list[float] = []  # first stage: when each step began; last stage: when it was done
    cpu_s = begun_s = 0.0
    with torch.no_grad():
        for number in range(WARM_UP_FRAMES + frames):
            if number == WARM_UP_FRAMES:
                dist.barrier()
                cpu_s, begun_s = time.process_time(), time.time()
                at_s.clear()
            if rank == 0 and rate_hz:
                time.sleep(max(0.0, begun_s + len(at_s) / rate_hz - time.time()))
            if rank == 0:
                at_s.append(time.time())
                schedule.eval(images)
            else:
                schedule.eval()
                at_s.append(time.time())
    cpu_s = time.process_time() - cpu_s
    print(json.dumps({"rank": rank, "cpu_s": cpu_s, "at_s": at_s}), flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
