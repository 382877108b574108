"""What an output is compared with: fields of a recorded topic, and how its state gives them.

Owns the form ``[OUTPUT=]TOPIC:FIELD[,FIELD]`` and what it means for a twist, a tensor of numbers,
or a classifier. Knows nothing of bags. Imported by ``played`` and by ``cli``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from streaming_net_ros.errors import BagError, ParameterError
from streaming_net_ros.evaluation.recorded import output_with, parse_reference, short_field
from streaming_net_ros.network import NetworkSpec, OutputSpec, state_shapes

Kind = Literal["numbers", "class"]


@dataclass(frozen=True)
class Reference:
    """One output beside the fields that say what was right.

    Attributes:
        output: the output's name.
        topic: of the recording.
        fields: of its messages, dotted.
        names: of what is compared, one per field: the output's own words.
        kind: numbers are compared by their difference, classes by being the same.
        elements: of the output's state (in the order of its message), one per field; none for a
            class, whose answer is the greatest element.
        limits: which the answer is clipped to, as it is published.
        size: elements of the state; the number of classes.
        safe: what the output sends once when it stops by itself, one per field; None: nothing.
    """

    output: str
    topic: str
    fields: tuple[str, ...]
    names: tuple[str, ...]
    kind: Kind
    elements: tuple[int, ...]
    limits: tuple[float, float] | None
    size: int
    safe: tuple[float, ...] | None = None

    def is_answer(self, values: NDArray[np.float64]) -> bool:
        """False for the safe command: it is about no image."""
        return self.safe is None or tuple(values.tolist()) != self.safe

    def answer(self, state: Tensor) -> NDArray[np.float64]:
        """The output's state, (1, ...), as it is compared: (fields,).

        Raises:
            BagError: it is not a number.
        """
        ordered = state[0].movedim(0, -1) if state.ndim == 4 else state[0]
        return self.answer_of(ordered.reshape(-1).double().numpy())

    def answer_of(self, flat: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same, of the state's numbers in the order of the output's message."""
        if self.kind == "class":
            chosen = flat
            values = np.array([float(flat.argmax())])
        else:
            chosen = values = flat[list(self.elements)]
        if not np.isfinite(chosen).all():
            raise BagError(
                "a response is not a number",
                where=f"output {self.output}",
                remedy="the weights or an input are broken",
            )
        return values if self.limits is None else values.clip(*self.limits)

    def check(self, values: NDArray[np.float32], where: str) -> None:
        """References that this output could give.

        Raises:
            BagError: a class that is none.
        """
        if self.kind != "class":
            return
        known = values[np.isfinite(values)]
        strange = known[(known != np.rint(known)) | (known < 0) | (known >= self.size)]
        if len(strange):
            raise BagError(
                "not a class number",
                where=f"{where}: {self.topic}: {self.fields[0]}",
                expected=f"integers from 0 to {self.size - 1}, the classes of '{self.output}'",
                got=float(strange[0]),
            )


def find_reference(spec: NetworkSpec, text: str) -> Reference:
    """Which output a reference speaks of, and how.

    Without ``OUTPUT=`` it is the twist output that has the fields. With it, a twist output takes
    the fields by name, or in its own order if the names are others; a tensor takes one field per
    element, or a single one that is the number of the class.

    Args:
        spec: the network.
        text: ``[OUTPUT=]TOPIC:FIELD[,FIELD]``.

    Raises:
        ParameterError: not of that form, or no output fits.
    """
    named, equals, rest = text.partition("=")
    topic, fields = parse_reference(rest if equals else text)
    output = named if equals else output_with(spec, fields)
    if output not in spec.outputs:
        raise ParameterError(
            "no such output",
            where=f"--reference {text}",
            expected=f"one of {', '.join(spec.outputs)}",
            got=output,
        )
    given = spec.outputs[output]
    size = int(np.prod(state_shapes(spec)[given.group]))
    if given.publish == "twist":
        names = _twist_names(given, fields, text)
        elements = tuple(given.fields[name] for name in names)  # type: ignore[index]
        safe = None if given.safe is None else tuple(float(given.safe[n]) for n in names)
        return Reference(
            output, topic, tuple(fields), names, "numbers", elements, given.limits, size, safe
        )
    names = tuple(short_field(field) for field in fields)
    if len(fields) == 1 and size > 1:
        return Reference(output, topic, tuple(fields), names, "class", (), None, size)
    if len(fields) != size:
        raise ParameterError(
            "a tensor needs a field for each element, or one for its class",
            where=f"--reference {text}",
            expected=f"{size} fields or 1 for output '{output}'",
            got=len(fields),
        )
    elements = tuple(range(size))
    return Reference(output, topic, tuple(fields), names, "numbers", elements, None, size)


def find_references(spec: NetworkSpec, texts: Sequence[str]) -> list[Reference]:
    """All of them, each for another output.

    Raises:
        ParameterError: one that no output fits, or two for one output.
    """
    found = [find_reference(spec, text) for text in texts]
    outputs = [reference.output for reference in found]
    for output in outputs:
        if outputs.count(output) > 1:
            raise ParameterError(
                f"two references for output '{output}'",
                where="--reference",
                expected="one: TOPIC:FIELD,FIELD",
            )
    return found


def _twist_names(given: OutputSpec, fields: Sequence[str], text: str) -> tuple[str, ...]:
    short = [short_field(field) for field in fields]
    if set(short) <= set(given.fields):
        return tuple(short)
    if len(short) == len(given.fields):
        return tuple(given.fields)
    raise ParameterError(
        "no output has these fields",
        where=f"--reference {text}",
        expected=f"some of {', '.join(given.fields)}, or as many as these",
        got=", ".join(fields),
    )
