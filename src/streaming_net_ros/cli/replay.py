"""``streaming-net replay``: a run computed again from its ledger, and compared with its record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.errors import LedgerError, RunError
from streaming_net_ros.paths import find_network


def replay(
    network: Annotated[str, typer.Argument(help="Network file, or the name of a shipped one.")],
    *,
    ledger: Annotated[
        list[Path], typer.Option(help="What 'run --ledger' wrote; one for each host.")
    ],
    bag: Annotated[Path, typer.Option(help="The recording that was streamed.")],
    image_topic: Annotated[
        str | None, typer.Option(help="The bag's image topic; not needed if it has only one.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="What 'run --record' wrote: compare bit for bit.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights, instead of the file's.")] = None,
    rollout: Annotated[
        str | None, typer.Option(help="The run's, if it was not the file's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compute a realtime run again, exactly: the same holds, the same skips, the same answers.

    Example: streaming-net run pilot --bag drive --mode realtime --record answers --ledger ledger;
    streaming-net replay pilot --ledger ledger --bag drive --check answers
    """
    import torch

    from streaming_net_ros.evaluation.replayed import (
        first_difference,
        image_recordings,
        recorded_answers,
        replay_run,
        safe_values,
    )
    from streaming_net_ros.frames.ledger import read_ledger
    from streaming_net_ros.network import (
        StreamingNetwork,
        load_weights,
        read_network_file,
        rollout_of,
    )

    spec = read_network_file(find_network(network).resolve())
    head, lines = read_ledger(ledger)
    torch.set_num_threads(head.torch_threads)  # other counts may round otherwise
    built = StreamingNetwork(spec, rollout_of(spec, rollout), seed=head.seed).eval()
    path = weights or spec.weights_path
    if path is not None:
        load_weights(built, path)
    images = image_recordings(built, bag, image_topic)
    with progress_bar("computing again", "frames") as advance:
        done = replay_run(
            built, head, lines, images, weights=path,
            on_frame=lambda n, total: advance(n, total, ""),
        )  # fmt: skip
    differs = {}
    if check is not None:
        for name, output in spec.outputs.items():
            recorded = recorded_answers(check, name, output)
            differs[name] = first_difference(done.answers[name], recorded, safe_values(output))
    counts = {name: len(answers.stamps_ns) for name, answers in done.answers.items()}
    if as_json:
        told = {"frames": done.frames, "held": done.held, "skipped": done.skipped,
                "kept_back": done.kept_back, "answers": counts,
                "differences": differs}  # fmt: skip
        print(json.dumps(told, indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True)
        console.print(
            f"{done.frames} frames computed again; inputs held {done.held}, frames skipped "
            f"{done.skipped}, answers kept back {done.kept_back}"
        )
        for name, count in counts.items():
            compared = "" if check is None else ": as recorded, bit for bit"
            console.print(f"{name}: {count} answers{compared if not differs.get(name) else ''}")
    if not any(counts.values()):
        raise LedgerError("the ledger tells of no answer", where=str(ledger[0]))
    for name, difference in differs.items():
        if difference is not None:
            raise RunError(f"not the recorded answers: {difference}", where=f"output {name}")
