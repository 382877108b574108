"""The machine that a verb runs on: its name, for figures, and whether a device can be used.

Imported by the verbs that train, and by ``tune``.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from streaming_net_ros.errors import ParameterError


def check_device(device: str) -> None:
    """Say at once if a device cannot be used.

    Raises:
        ParameterError: there is no such device, or it does not work.
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        what = f"cannot use this device ({str(error).splitlines()[0][:100]})"
        raise ParameterError(what, where="--device", got=device, remedy="use cpu") from None


def machine(device: str) -> str:
    """The machine that figures were made on, in words."""
    import torch

    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    else:
        info = Path("/proc/cpuinfo")
        lines = info.read_text().splitlines() if info.exists() else []
        model = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = f"{os.cpu_count()} cores of {model[0] if model else platform.processor()}"
    return f"{name}, torch {torch.__version__}"
