"""Responses as a subscriber heard them: out of messages, and out of a bag that recorded them.

Knows the messages that responses are, and nothing of rclpy. Imported by ``cli``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import BagError
from streaming_net_ros.evaluation.bags import Bag, decode_message, open_bag
from streaming_net_ros.evaluation.inputs import RecordedInputs
from streaming_net_ros.evaluation.streaming.played import Answers, TimedPlay
from streaming_net_ros.evaluation.streaming.references import Reference
from streaming_net_ros.wire import read_fields, read_stamp_ns

_RESPONSE = "/response/"
_TWIST = "geometry_msgs/msg/TwistStamped"
_TENSOR = "sensor_msgs/msg/Image"


def response_of(reference: Reference, kind: str, cdr: bytes) -> tuple[int, NDArray[np.float64]]:
    """The capture stamp of a response, and what it says: (fields,).

    Args:
        reference: of the output that answered.
        kind: of the message, as ``package/msg/Type``.
        cdr: its bytes.

    Raises:
        BagError: it is no response, or its numbers are none.
    """
    if kind not in (_TWIST, _TENSOR):
        raise BagError(
            "not a response", where=f"output {reference.output}", got=kind,
            expected=f"{_TWIST} or {_TENSOR}",
        )  # fmt: skip
    message = decode_message(cdr, kind)
    stamp_ns = read_stamp_ns(message.header.stamp)
    if kind == _TWIST:
        fields = [f"twist.{name}" for name in reference.names]
        return stamp_ns, np.array(read_fields(message, fields, reference.output))
    half = message.encoding.startswith("16FC")
    flat = np.frombuffer(message.data.tobytes(), np.float16 if half else np.float32)
    return stamp_ns, reference.answer_of(flat.astype(np.float64))


def recorded_play(
    path: Path, inputs: RecordedInputs, references: Sequence[Reference]
) -> TimedPlay:
    """What a running network answered to a recording, out of the bag that heard it.

    A response was published when it was recorded, in the time of the images: play them with
    ``--clock`` and record with ``--use-sim-time``.

    Args:
        path: a bag with one topic ``.../response/OUTPUT`` for each output.
        inputs: of the recording that was played.
        references: of the outputs.

    Raises:
        BagError: responses are missing, or those to another recording.
    """
    answers = {}
    with open_bag(path) as bag:
        for reference in references:
            rows = []
            for raw in bag.raw([_topic(bag, reference.output)]):
                captured_ns, values = response_of(reference, raw.type, raw.cdr)
                if reference.is_answer(values):
                    rows.append((raw.log_ns, captured_ns, values))
            heard = Answers.of(rows, len(reference.names))
            strange = ~np.isin(heard.captured_ns, inputs.captured_ns)
            if strange.any():
                raise BagError(
                    "a response is stamped with no image's capture time",
                    where=f"{path}: output {reference.output}",
                    got=int(heard.captured_ns[strange][0]),
                    remedy="give the recording that was played, from its beginning and not looped",
                )
            answers[reference.output] = heard
    return TimedPlay(answers, recorded_in=path.resolve().name)


def _topic(bag: Bag, output: str) -> str:
    there = [topic for topic in bag.topics if topic.endswith(_RESPONSE + output)]
    if len(there) != 1:
        raise BagError(
            f"which topic has the responses of output '{output}'?",
            where=str(bag.path),
            expected=f"one that ends in {_RESPONSE}{output}",
            got=there or list(bag.topics),
        )
    return there[0]
