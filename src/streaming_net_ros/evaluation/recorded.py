"""Judging a run by what it recorded: a bag of responses against the bag that was streamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import BagError, ParameterError
from streaming_net_ros.evaluation.bags import Bag, align, open_bag, stamp_of
from streaming_net_ros.evaluation.metrics import ResponseErrors, response_errors
from streaming_net_ros.network import NetworkSpec
from streaming_net_ros.theory import Rollout, response_times

_RESPONSE = "/response/"


@dataclass(frozen=True)
class Judged:
    """Responses of one output beside what was right.

    Attributes:
        output: its name.
        errors: of early and full responses.
        captured_ns: (images,) capture times of the streamed images.
        references: (images, fields) what was right, NaN where unknown.
        stamps_ns: (n,) capture stamps of the responses.
        responses: (n, fields).
    """

    output: str
    errors: ResponseErrors
    captured_ns: NDArray[np.int64]
    references: NDArray[np.float32]
    stamps_ns: NDArray[np.int64]
    responses: NDArray[np.float32]


def parse_reference(text: str) -> tuple[str, list[str]]:
    """``TOPIC:FIELD[,FIELD]`` as topic and fields.

    Raises:
        ParameterError: not of that form.
    """
    topic, _, fields = text.partition(":")
    if not topic or not fields or not all(fields.split(",")):
        raise ParameterError(
            "not a reference",
            where=text,
            expected="TOPIC:FIELD[,FIELD], for example /teleop/cmd_vel:twist.angular.z",
        )
    return topic, fields.split(",")


def parse_part(text: str, where: str) -> slice:
    """``FIRST:LAST`` (either may be left out) as a slice; LAST is not included.

    Raises:
        ParameterError: not of that form.
    """
    first, colon, last = text.partition(":")
    try:
        part = slice(int(first) if first else None, int(last) if last else None)
    except ValueError:
        colon = ""
    if not colon:
        raise ParameterError("not a range of images", where=where, expected="FIRST:LAST", got=text)
    return part


def judge_recording(
    spec: NetworkSpec,
    rollout: Rollout,
    answers: Path,
    bag: Path,
    *,
    image_topic: str | None,
    reference: str,
    part: slice,
) -> Judged:
    """Errors of recorded responses against a topic of the recording that was streamed.

    Args:
        spec: the network that ran.
        rollout: as it ran.
        answers: what ``run --record`` wrote.
        bag: the recording that was streamed.
        image_topic: of it; None takes the only one.
        reference: ``TOPIC:FIELD[,FIELD]`` in it; the output is the one whose twist has the fields.
        part: the images to judge.

    Raises:
        BagError: a recording that lacks what is needed.
        ParameterError: a reference that no output answers.
    """
    topic, fields = parse_reference(reference)
    output = output_with(spec, fields)
    with open_bag(bag) as streamed:
        captured_ns = _capture_times(streamed, streamed.image_topic(image_topic))
        series = streamed.series(topic, fields)
    tolerance_ns = int(np.median(np.diff(captured_ns))) if len(captured_ns) > 1 else 10**9
    references = align(series, captured_ns, tolerance_ns=tolerance_ns)
    with open_bag(answers) as recorded:
        there = [name for name in recorded.topics if name.endswith(_RESPONSE + output)]
        if len(there) != 1:
            raise BagError(
                f"no responses of output '{output}'", where=str(answers), got=list(recorded.topics)
            )
        responses = recorded.series(there[0], [f"twist.{short_field(field)}" for field in fields])
    # In realtime an answer made of held states repeats its stamp: the first one counts. A safe
    # command is about no image: it is stamped when it was sent.
    stamps_ns, chosen = np.unique(responses.stamps_ns, return_index=True)
    if spec.outputs[output].safe is not None:
        is_answer = np.isin(stamps_ns, captured_ns)
        stamps_ns, chosen = stamps_ns[is_answer], chosen[is_answer]
    values = responses.values[chosen]
    times = response_times(rollout)[spec.outputs[output].group]
    errors = response_errors(
        stamps_ns,
        values,
        captured_ns,
        references,
        first_frames=times.first_frames,
        full_frames=times.full_frames,
        fields=[short_field(field) for field in fields],
        judge=part,
    )
    return Judged(output, errors, captured_ns, references, stamps_ns, values)


def _capture_times(bag: Bag, topic: str) -> NDArray[np.int64]:
    return np.array([stamp_of(m, log_ns) for log_ns, m in bag.messages(topic)], dtype=np.int64)


def short_field(field: str) -> str:
    """A field of a stamped twist as outputs name it: without ``twist.``."""
    return field.removeprefix("twist.")


def output_with(spec: NetworkSpec, fields: Sequence[str]) -> str:
    """The first output whose twist has these fields.

    Raises:
        ParameterError: none has; the outputs are listed.
    """
    wanted = {short_field(field) for field in fields}
    for name, output in spec.outputs.items():
        if wanted <= set(output.fields):
            return name
    listed = [f"{name} ({', '.join(o.fields)})" for name, o in spec.outputs.items() if o.fields]
    raise ParameterError(
        "no output has these fields",
        where="--reference",
        expected=f"fields of {' or '.join(listed) or 'a twist output'}",
        got=", ".join(fields),
    )
