"""Files that a page may name: weights and snapshots, below one folder and nowhere else."""

from __future__ import annotations

from pathlib import Path

from streaming_net_ros.errors import ParameterError

_MOST = 500


def below(root: Path, name: str) -> Path:
    """A path below the root, as a page named it.

    Raises:
        ParameterError: it is not below the root, links followed.
    """
    try:
        path = (root / name).resolve()
        is_below = bool(name) and path.is_relative_to(root.resolve())
    except (OSError, ValueError):
        is_below = False
    if not is_below:
        raise ParameterError("not below the viewer's folder", where=str(root), got=name)
    return path


def weights_below(root: Path) -> list[str]:
    """Weights files below the root, as pages name them; not all of very many."""
    found: list[str] = []
    for path in sorted(root.rglob("*.safetensors")):
        if path.resolve().is_relative_to(root.resolve()):
            found.append(str(path.relative_to(root)))
        if len(found) >= _MOST:
            break
    return found
