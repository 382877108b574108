"""The container as a process: ``python -m streaming_net_ros.nodes``.

Takes signals before rclpy and torch are loaded, which takes seconds. There is nothing yet that
would have to be ended in order, so a signal ends the process at once, and without a traceback.
"""

from __future__ import annotations

import os
import signal
import sys


def main(args: list[str] | None = None) -> None:
    """Load the container and run it; ends the process with an error's exit code, or 0."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    from streaming_net_ros.nodes.container import main as run_container

    run_container(sys.argv[1:] if args is None else args)


if __name__ == "__main__":
    main()
