"""Recordings to be: messages into a rosbag2 (mcap), without a ROS installation.

Owns the promise that a folder of the bag's name is always a whole bag: it is written beside and
renamed. Imported by ``cli``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, TypesysError, get_typestore

from streaming_net_ros.errors import BagError

_STORE = get_typestore(Stores.ROS2_KILTED)


class BagWriter:
    """Writes a rosbag2 (mcap). A context manager; on an error nothing half-written is left.

    Attributes:
        counts: messages written so far, by topic.

    Args:
        path: the bag's folder, which must not exist yet.

    Raises:
        BagError: it exists, or cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        if self._path.exists():
            raise BagError(
                "will not write over what exists",
                where=str(path),
                remedy="remove it or choose another path",
            )
        self._part = self._path.with_name(self._path.name + ".part")
        self._connections: dict[str, Any] = {}
        self.counts: dict[str, int] = {}

    def __enter__(self) -> BagWriter:
        shutil.rmtree(self._part, ignore_errors=True)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = Writer(self._part, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except (OSError, WriterError) as error:
            raise self._cannot_write(error) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._writer.close()
            if kind is None:
                _rename_whole(self._part, self._path)
        except OSError as fault:
            if kind is None:
                raise self._cannot_write(fault) from None
        finally:
            shutil.rmtree(self._part, ignore_errors=True)

    def write(self, topic: str, kind: str, log_ns: int, content: Any) -> None:
        """Append a message; the first one of a topic sets its type.

        Args:
            topic: its name.
            kind: of the message, as ``package/msg/Type``.
            log_ns: the time of the record.
            content: a message of ``message_type(kind)``, or CDR bytes.

        Raises:
            BagError: an unknown type, a topic that changes its type, or a full disk.
        """
        try:
            if topic not in self._connections:
                connection = self._writer.add_connection(topic, kind, typestore=_STORE)
                self._connections[topic] = connection
                self.counts[topic] = 0
            connection = self._connections[topic]
            if connection.msgtype != kind:
                raise BagError(
                    "topic changes its type", where=topic, expected=connection.msgtype, got=kind
                )
            raw = content if isinstance(content, bytes) else _STORE.serialize_cdr(content, kind)
            self._writer.write(connection, log_ns, raw)
        except TypesysError:
            raise BagError(
                "unknown message type", where=topic, expected="a type of ROS 2 itself", got=kind
            ) from None
        except OSError as error:
            raise self._cannot_write(error) from None
        self.counts[topic] += 1

    def _cannot_write(self, error: Exception) -> BagError:
        return BagError(f"cannot write ({error})", where=str(self._path))


def message_type(kind: str) -> Callable[..., Any]:
    """The class of a standard message for ``BagWriter.write``, as ``package/msg/Type``."""
    return _STORE.types[kind]


def knows_type(kind: str) -> bool:
    """Whether a type is one of ROS 2 itself, and can be written."""
    return kind in _STORE.types


def _rename_whole(part: Path, path: Path) -> None:
    """Give a finished bag its name, which rosbag2 repeats in its file and in its metadata."""
    metadata = part / "metadata.yaml"
    text = metadata.read_text(encoding="utf-8")
    for file in part.glob(f"{part.name}*"):
        name = path.name + file.name.removeprefix(part.name)
        text = text.replace(file.name, name)
        file.rename(part / name)
    metadata.write_text(text, encoding="utf-8")
    part.rename(path)
