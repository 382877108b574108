"""The report of an evaluation: one HTML file that needs nothing else, and light enough to mail.

Owns words and layout of the page. Tables and pictures come from ``comparison`` and ``pictures``;
what the numbers mean stands in docs/evaluation.md and, in short, on the page itself.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from math import isfinite
from string import Template

from streaming_net_ros.evaluation.streaming.comparison import Comparison
from streaming_net_ros.evaluation.streaming.measures import Measures
from streaming_net_ros.evaluation.streaming.pictures import Picture, colour_of

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
         padding: 0 1rem; }
  h1 { font-size: 1.7rem; margin-bottom: 0; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
  h2 small { font-weight: 400; color: #666; }
  .under { color: #666; margin-top: 0.2rem; }
  table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
  .wide { overflow-x: auto; }
  th, td { padding: 0.3rem 0.8rem 0.3rem 0; text-align: right; border-bottom: 1px solid #e3e3e3;
           white-space: nowrap; }
  th { font-weight: 600; vertical-align: bottom; border-bottom: 2px solid #999; }
  th:first-child, td:first-child, .words th, .words td { text-align: left; }
  .words td { white-space: normal; }
  .best { font-weight: 700; } .mean td { color: #777; }
  .dot { display: inline-block; width: 0.7em; height: 0.7em; border-radius: 50%;
         margin-right: 0.45em; }
  img { width: 100%; margin: 0.6rem 0; } .note { background: #fff6df; padding: 0.5rem 0.8rem;
         border-left: 4px solid #e69f00; } dt { font-weight: 600; } dd { margin: 0 0 0.6rem 0; }
</style>
</head>
<body>
<h1>$title</h1>
<p class="under">$under</p>
$notes
$outputs
<h2>How it was played</h2>
$settings
<h2>What the numbers mean</h2>
<dl>$meanings</dl>
</body>
</html>
""")

_MEANINGS = {
    "early, full (offline)": "Error of the first response that an image can have influenced, and "
    "of the response that every path from it has reached, both against the reference at that "
    "image's capture. Every image is a frame, and no time passes while groups compute.",
    "newest answer (streaming evaluation)": "Error against the world of that time: at each "
    "time of a reference, the newest answer that had been published by then (Li, Wang, Ramanan: "
    "Towards Streaming Perception, 2020), with the compute times below. Judged only when all "
    "rollouts have answered.",
    "latency": "From the capture of an image to the first answer that it influenced (median).",
    "age": "At each time of a reference: since the capture of the newest image inside the newest "
    "answer.",
    "changes answered": "The reference has changed when it has left its last level by the "
    "threshold; that is answered when the newest answer has covered 63 % of the way, before the "
    "reference turns back and within a second. In brackets the median over all changes, those "
    "that were missed counted as infinitely late.",
    "lag": "The shift by which the answers fit the reference best, and their correlation there.",
    "always the same answer": "The mean of the judged references (for classes the commonest one): "
    "a predictor that does not look. What is no better has learnt nothing.",
}


def report(comparison: Comparison, pictures: Sequence[Picture], notes: Iterable[str] = ()) -> str:
    """The page.

    Args:
        comparison: what is told.
        pictures: of it, embedded.
        notes: what the reader must know first.
    """
    task = comparison.task
    drives = ", ".join(
        f"{drive.name} ({comparison.images[drive.name]} images)" for drive in task.drives
    )
    networks = sorted({contender.network.spec.name for contender in task.contenders})
    outputs = "\n".join(_output(comparison, output, pictures) for output in comparison.references)
    return _PAGE.substitute(
        title=escape(f"{', '.join(networks)} on {', '.join(d.name for d in task.drives)}"),
        under=escape(f"Evaluation of {len(task.contenders)} rollouts on {drives}"),
        notes="\n".join(f'<p class="note">{escape(note)}</p>' for note in notes),
        outputs=outputs,
        settings=_settings(comparison),
        meanings="".join(
            f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in _MEANINGS.items()
        ),
    )


def _output(comparison: Comparison, output: str, pictures: Sequence[Picture]) -> str:
    reference = comparison.references[output]
    parts = []
    for field, name in enumerate(reference.names):
        source = f"{reference.topic}: {reference.fields[field]}"
        parts.append(f"<h2>{escape(output)}: {escape(name)} <small>against {escape(source)}"
                     "</small></h2>")  # fmt: skip
        measured = [
            (c.name, comparison.pooled[c.name][output]) for c in comparison.task.contenders
        ]
        parts.append(_summary(measured, field))
        parts += [_image(p) for p in pictures if p.name.startswith(f"{output}_{name}_")]
        if len(comparison.task.drives) > 1:
            parts.append("<h3>Each recording</h3>" + _by_recording(comparison, output, field))
    return "\n".join(parts)


def _summary(measured: Sequence[tuple[str, Measures]], field: int) -> str:
    """A row per rollout; the best error of each column is marked."""
    main = measured[0][1]
    word = "Accuracy" if main.kind == "class" else "Mean absolute error"
    head = ["rollout", "early,<br>offline", "full,<br>offline",
            "newest,<br>streaming<br>evaluation", "answers<br>/s", "latency<br>(ms)",
            "age: mean<br>(ms)", "p95<br>(ms)", "max<br>(ms)",
            "changes answered<br>(median, ms)", "lag (ms)"]  # fmt: skip
    columns = [
        [m.offline[0][m.main][field] for _, m in measured],
        [m.offline[-1][m.main][field] for _, m in measured],
        [m.streaming[m.main][field] for _, m in measured],
    ]
    best = [max(c) if main.kind == "class" else min(c) for c in columns]
    rows = []
    for number, (name, m) in enumerate(measured):
        cells = [_dot(number) + escape(name)]
        cells += [
            f'<span class="best">{c[number]:.3f}</span>' if c[number] == b else f"{c[number]:.3f}"
            for c, b in zip(columns, best, strict=True)
        ]
        cells += [f"{m.answers_hz:.1f}", _ms(m.latency_ms.p50), _ms(m.age_ms.mean),
                  _ms(m.age_ms.p95), _ms(m.age_ms.max)]  # fmt: skip
        cells += [changes_words(m, field), lag_words(m, field)]
        rows.append(cells)
    means = (main.offline_mean, main.offline_mean, main.streaming_mean)
    mean = [f"{numbers[main.main][field]:.3f}" for numbers in means]
    rows.append(["always the same", *mean, *[""] * 7])
    told = (
        f'<p class="under">{word}; {main.images} images judged offline, {main.times} times in the '
        "streaming evaluation"
        + ("" if main.kind == "class" else f"; a change is {_threshold(main, field)} or more")
        + ".</p>"
    )
    return _table(head, rows, last_class="mean") + told


def changes_words(m: Measures, field: int) -> str:
    """How changes were answered, in a few words."""
    changes = m.changes[m.names[field]]
    if not changes.changes:
        return "none seen"
    median = f"{changes.median_ms:.0f}" if isfinite(changes.median_ms) else "most missed"
    return f"{changes.answered} of {changes.changes} ({median})"


def lag_words(m: Measures, field: int) -> str:
    """The lag, in a few words."""
    lag = m.lags.get(m.names[field])
    if lag is None or lag.best is None:
        return "-"
    return f"{lag.lags_ns[lag.best] / 1e6:+.0f} (r {lag.correlations[lag.best]:.2f})"


def _by_recording(comparison: Comparison, output: str, field: int) -> str:
    head = ["recording", "images", *(f"{c.name}:<br>early" for c in comparison.task.contenders),
            *(f"{c.name}:<br>newest" for c in comparison.task.contenders),
            "always<br>the same"]  # fmt: skip
    rows = []
    for drive in comparison.task.drives:
        singles = [comparison.single[c.name][output][drive.name]
                   for c in comparison.task.contenders]  # fmt: skip
        main = singles[0].main
        numbers = [m.offline[0][main][field] for m in singles]
        numbers += [m.streaming[main][field] for m in singles]
        numbers.append(singles[0].streaming_mean[main][field])
        cells = [escape(drive.name), str(comparison.images[drive.name])]
        rows.append(cells + [f"{number:.3f}" for number in numbers])
    return _table(head, rows)


def _settings(comparison: Comparison) -> str:
    head = ["rollout", "network, weights", "runs", "grid (Hz)", "compute time of groups (ms)",
            "workers", "inputs held"]  # fmt: skip
    rows = []
    for number, (name, told) in enumerate(comparison.to_json()["rollouts"].items()):
        cells = [_dot(number) + escape(name), escape(f"{told['network']}, {told['weights']}"),
                 escape(told["runs"]), f"{told['rate_hz']:g}"]  # fmt: skip
        if "work_ms" in told:
            cells += [_work(told["work_ms"]), str(told["workers"]), str(told["inputs_held"])]
        else:
            cells += ["as it took", "", ""]
        rows.append(cells)
    first = comparison.task.contenders[0].name
    camera_ms = comparison.task.timing[first].camera_ns / 1e6
    how = "With stated compute times, in virtual time: images arrive at their capture stamps"
    how += f" and {camera_ms:g} ms; " if camera_ms else "; "
    how += "groups take these times, and everything else takes none. Otherwise images come when "
    how += "they were recorded, and an answer is published when a subscriber has it."
    return _table(head, rows, kind="words") + f"<p>{how}</p>"


def _work(work_ms: dict[str, float]) -> str:
    if len(set(work_ms.values())) == 1:
        return f"{next(iter(work_ms.values())):g} each"
    return escape(", ".join(f"{group} {ms:g}" for group, ms in work_ms.items()))


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = "", last_class: str = ""
) -> str:
    """A table; cells are HTML already."""

    def lines() -> Iterator[str]:
        yield "<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"
        for number, row in enumerate(rows):
            name = f' class="{last_class}"' if last_class and number == len(rows) - 1 else ""
            yield f"<tr{name}>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"

    return f'<div class="wide"><table class="{kind}">' + "\n".join(lines()) + "</table></div>"


def _image(picture: Picture) -> str:
    data = base64.b64encode(picture.svg).decode("ascii")
    return f'<img alt="{escape(picture.text)}" src="data:image/svg+xml;base64,{data}">'


def _dot(number: int) -> str:
    return f'<span class="dot" style="background:{colour_of(number)}"></span>'


def _ms(value: float) -> str:
    return f"{value:.0f}" if isfinite(value) else "-"


def _threshold(measures: Measures, field: int) -> str:
    return f"{measures.changes[measures.names[field]].threshold:.3f}"
