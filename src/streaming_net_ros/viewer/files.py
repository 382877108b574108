"""Files that a page may name: weights, snapshots and network files, below one folder only.

Owns the check of a name and the list of what is there. A folder may be a whole home: a walk looks
at so many entries and no more, nearest first, and is kept for some seconds for everybody. Call it
in a thread: a slow disk holds up no page.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from streaming_net_ros.errors import ParameterError

KEPT_S = 5.0
WEIGHTS = (".safetensors",)
NETWORKS = (".yaml", ".yml")
_MOST_ENTRIES = 20_000
_MOST_DEEP = 6
_MOST = 500  # of one kind, offered to a page


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


def found_below(root: Path) -> list[str]:
    """Weights and network files below the root, as pages name them; not all of very many.

    Links to folders are not followed, and links to files only where they stay below the root.
    """
    found: list[str] = []
    real = root.resolve()
    waiting = deque([(root, 1)])
    left = _MOST_ENTRIES
    while waiting and left > 0:
        folder, depth = waiting.popleft()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0:
                        break
                    if _is_wanted(entry):
                        path = Path(entry.path)
                        if not entry.is_symlink() or path.resolve().is_relative_to(real):
                            found.append(str(path.relative_to(root)))
                    elif depth < _MOST_DEEP and _is_entered(entry):
                        waiting.append((Path(entry.path), depth + 1))
        except OSError:  # not ours to read, or gone meanwhile
            continue
    return sorted(found)


def _is_wanted(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(WEIGHTS + NETWORKS) and entry.is_file()


def _is_entered(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)


class Listing:
    """The files below a folder, walked once for all pages. Any thread; may take long.

    Args:
        root: the folder.
        clock: seconds that only rise.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._lock = threading.Lock()
        self._found: list[str] = []
        self._found_s: float | None = None

    def names(self, *suffixes: str) -> list[str]:
        """Files of these endings, as pages name them."""
        with self._lock:  # who asks meanwhile waits for the walk that is under way
            if self._found_s is None or self._clock() - self._found_s > KEPT_S:
                self._found = found_below(self._root)
                self._found_s = self._clock()
            return [name for name in self._found if name.endswith(suffixes)][:_MOST]

    def forget(self) -> None:
        """Something was written: the next who asks gets it too."""
        with self._lock:
            self._found_s = None
