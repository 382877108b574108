"""How right the early and the full responses of a stream are.

Owns the definition of early and full error; knows numpy only. An output's answer at frame t is
stamped with the capture time of the newest image inside it: image t - first_frames. Of image i,

* the *early error* compares the answer at frame i + first_frames (the first that image i can have
  influenced) with the reference at image i's capture;
* the *full error* compares the answer at frame i + full_frames (the first that every path from
  image i has reached) with the same reference.

Beside both stands the error of always answering the mean of the judged references: a predictor
that does not look. A network that is no better than it has learnt nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import BagError, ParameterError

Values = NDArray[np.float32]


@dataclass(frozen=True)
class FieldErrors:
    """Errors per field, in the unit of the field.

    Attributes:
        mae: mean absolute error.
        rmse: root of the mean squared error.
    """

    mae: tuple[float, ...]
    rmse: tuple[float, ...]

    @classmethod
    def of(cls, answers: Values, references: Values) -> FieldErrors:
        """Of answers and references, both (n, fields)."""
        difference = np.asarray(answers, np.float64) - np.asarray(references, np.float64)
        mae = np.abs(difference).mean(axis=0)
        rmse = np.sqrt(np.square(difference).mean(axis=0))
        return cls(tuple(mae.tolist()), tuple(rmse.tolist()))


@dataclass(frozen=True)
class ResponseErrors:
    """Errors of early and full responses over the same images.

    Attributes:
        fields: names of what was judged.
        images: how many images were judged: those with a reference and both answers.
        first_frames: frames from an image to its early response.
        full_frames: frames from an image to its full response.
        early: errors of the early responses.
        full: errors of the full responses.
        mean: errors of always answering the mean reference.
    """

    fields: tuple[str, ...]
    images: int
    first_frames: int
    full_frames: int
    early: FieldErrors
    full: FieldErrors
    mean: FieldErrors

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and words."""
        return {
            name: {kind: list(errors) for kind, errors in value.items()}
            if isinstance(value, dict)
            else list(value)
            if isinstance(value, tuple)
            else value
            for name, value in asdict(self).items()
        }

    def __str__(self) -> str:
        parts = []
        for number, field in enumerate(self.fields):
            early, full, mean = (e.mae[number] for e in (self.early, self.full, self.mean))
            rmse = "/".join(f"{e.rmse[number]:.3f}" for e in (self.early, self.full, self.mean))
            parts.append(
                f"{field} mean absolute error: early (+{self.first_frames} frames) {early:.3f}, "
                f"full (+{self.full_frames}) {full:.3f}, always the mean {mean:.3f} (rmse {rmse})"
            )
        return f"{self.images} images: " + "; ".join(parts)


def response_errors(
    stamps_ns: NDArray[np.int64],
    responses: Values,
    captured_ns: NDArray[np.int64],
    references: Values,
    *,
    first_frames: int,
    full_frames: int,
    fields: Sequence[str],
    judge: slice = slice(None),
) -> ResponseErrors:
    """Errors of a stream's responses against references.

    An image without reference (NaN), or one whose early or full answer is not there (the stream's
    end, a frame that was skipped), is not judged.

    Args:
        stamps_ns: (n,) capture stamps of the responses (age law), strictly increasing.
        responses: (n, fields).
        captured_ns: (images,) capture times of all images streamed, strictly increasing.
        references: (images, fields) what was right at each image's capture, as ``align`` gives it.
        first_frames: frames from an image to the first response that it can influence.
        full_frames: frames from an image to the response that every path has reached.
        fields: names of the fields.
        judge: which of the images to judge.

    Raises:
        ParameterError: shapes or stamps that do not fit.
        BagError: a response is NaN, or not one image can be judged.
    """
    _check_columns("responses", responses, stamps_ns, len(fields))
    _check_columns("references", references, captured_ns, len(fields))
    if not 0 <= first_frames <= full_frames:
        raise ParameterError(
            "impossible response times",
            expected="0 <= first_frames <= full_frames",
            got=(first_frames, full_frames),
        )
    answers = _by_image(stamps_ns, responses, captured_ns)
    images = np.arange(len(captured_ns))[judge]
    late = images + full_frames - first_frames  # the newest image inside an image's full answer
    images, late = images[late < len(captured_ns)], late[late < len(captured_ns)]
    early, full, reference = answers[images], answers[late], references[images]
    known = ~np.isnan(np.concatenate([early, full, reference], axis=1)).any(axis=1)
    if not known.any():
        raise BagError(
            "no image has a reference, an early and a full answer",
            got=f"{len(stamps_ns)} responses to {len(captured_ns)} images",
            remedy="judge more images, or check the reference's stamps",
        )
    early, full, reference = early[known], full[known], reference[known]
    mean = np.broadcast_to(reference.mean(axis=0, dtype=np.float64), reference.shape)
    return ResponseErrors(
        fields=tuple(fields),
        images=int(known.sum()),
        first_frames=first_frames,
        full_frames=full_frames,
        early=FieldErrors.of(early, reference),
        full=FieldErrors.of(full, reference),
        mean=FieldErrors.of(mean.astype(np.float64), reference),
    )


def onset_errors(responses: Values, onsets: NDArray[np.int64], references: Values) -> Values:
    """Mean absolute error over the frames since onset, of streams restarted from silence.

    The k-th response after an onset at image i holds images up to i + k, and is compared with the
    reference of image i + k. Missing references (NaN) are left out.

    Args:
        responses: (onsets, frames, fields), from the first response of each stream on.
        onsets: (onsets,) the image at which each stream began.
        references: (images, fields).

    Returns:
        (frames, fields); NaN where no reference is.

    Raises:
        ParameterError: shapes that do not fit, or streams that outlast the references.
    """
    frames = responses.shape[1] if responses.ndim == 3 else 0
    if frames == 0 or len(onsets) != len(responses) or references.shape[1:] != responses.shape[2:]:
        raise ParameterError(
            "shapes do not fit",
            expected="responses (onsets, frames, fields), references (images, fields)",
            got=(responses.shape, onsets.shape, references.shape),
        )
    newest = np.asarray(onsets)[:, None] + np.arange(frames)
    if newest.size and not 0 <= newest.min() <= newest.max() < len(references):
        raise ParameterError(
            "a stream outlasts the references",
            expected=f"images 0 to {len(references) - 1}",
            got=int(newest.max()),
        )
    return mean_over_onsets(np.abs(responses - references[newest]))


def mean_over_onsets(errors: Values) -> Values:
    """Mean over the first axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(errors)
    total = np.where(known, errors, 0).sum(axis=0, dtype=np.float64)
    counts = known.sum(axis=0)
    mean = np.full(total.shape, np.nan)
    np.divide(total, counts, out=mean, where=counts > 0)
    return mean.astype(np.float32)


def _by_image(
    stamps_ns: NDArray[np.int64], responses: Values, captured_ns: NDArray[np.int64]
) -> Values:
    """Per image the response that is stamped with its capture; NaN where there is none."""
    for name, stamps in (("responses", stamps_ns), ("images", captured_ns)):
        if (np.diff(stamps) <= 0).any():
            raise ParameterError(f"stamps of the {name} do not increase")
    place = np.searchsorted(captured_ns, stamps_ns)
    strange = captured_ns[np.minimum(place, len(captured_ns) - 1)] != stamps_ns
    if strange.any():
        raise ParameterError(
            "a response is stamped with no image's capture time",
            got=int(np.asarray(stamps_ns)[strange][0]),
            remedy="give the recording that was streamed",
        )
    if np.isnan(responses).any():
        raise BagError(
            "a response is not a number",
            where=f"response {int(np.isnan(responses).any(axis=1).argmax())}",
            remedy="the weights or an input are broken",
        )
    answers = np.full((len(captured_ns), responses.shape[1]), np.nan, np.float32)
    answers[place] = responses
    return answers


def _check_columns(name: str, values: Values, rows: NDArray[np.int64], fields: int) -> None:
    if values.shape != (len(rows), fields):
        raise ParameterError(
            f"{name} of another shape", expected=str((len(rows), fields)), got=values.shape
        )
