"""Saliency: what a number of an answer hangs on, in the newest image and in those before it."""

from __future__ import annotations

import asyncio
from functools import partial

import numpy as np
from nicegui import ui

from streaming_net_ros.errors import StreamingNetError
from streaming_net_ros.network import Question
from streaming_net_ros.viewer.page import Page
from streaming_net_ros.viewer.saliency_picture import saliency_html

PERIOD_S = 0.5  # how often it is looked for a newer row of images; a burst rests a second

_TOUCHING = ("weights", "scalar.", "learning.", "lesion", "edge.")


def build(page: Page) -> None:
    """Build the panel."""
    _Panel(page)


class _Panel:
    def __init__(self, page: Page) -> None:
        self._viewer = page.viewer
        self._salience, self._bursts = page.viewer.salience, page.viewer.bursts
        self._shown: object = None
        with ui.element("div").classes("card w-full"):
            with ui.row().classes("w-full items-center gap-3 no-wrap"):
                ui.label("Saliency").classes("heading")
                self._choices()
                self._told = ui.label().classes("pale text-xs grow")
                self._told.props("data-name=saliency-told")
            self._html = ui.html(sanitize=False).classes("w-full").props("data-name=saliency")
            ui.label(
                "Gradient of one number of an answer with respect to all images that it is made "
                "of, taken with the weights file's numbers. The inputs are heard at full rate in "
                "bursts with a second between them, while this panel is in front."
            ).classes("pale text-xs")
        page.every(PERIOD_S, self._refresh)

    def _choices(self) -> None:
        spec, cameras = self._viewer.spec, self._salience.cameras
        self._camera = _select("camera", cameras, cameras[0] if cameras else None)
        self._camera.set_visibility(len(cameras) > 1)
        self._output = _select("output", list(spec.outputs), next(iter(spec.outputs)))
        self._output.on_value_change(self._offer)
        self._field = _select("number", {}, None)
        self._element = ui.number("element", value=0, min=0, precision=0).props("dense")
        self._element.style("width: 90px").classes("num")
        self._offer()

    def _offer(self) -> None:
        """The numbers of the chosen output: by name where they have one."""
        output = self._output.value
        fields = self._salience.fields(output)
        self._field.set_visibility(bool(fields))
        self._element.set_visibility(not fields)
        if fields:
            self._field.set_options(fields, value=next(iter(fields)))
        shape = self._viewer.watch.formats[self._viewer.spec.outputs[output].group].shape
        self._element.max = int(np.prod(shape)) - 1
        self._element.value = 0

    def _question(self) -> tuple[Question, str]:
        output = self._output.value
        fields = self._salience.fields(output)
        typed = self._element.value  # whatever a client sends
        number = int(typed) if isinstance(typed, int | float) and abs(typed) < 1 << 31 else 0
        element = self._field.value if fields else number
        return Question(output, element, self._camera.value), fields.get(element, f"[{element}]")

    async def _refresh(self) -> None:
        if self._camera.value is None:
            self._told.text = "this network has no image input"
            return
        question, name = self._question()
        ask = partial(asyncio.get_running_loop().run_in_executor, self._viewer.answering)
        try:
            needed = await ask(self._salience.needed, question)
            row = self._bursts.ask(needed)
            if row is None:
                self._told.text = f"waiting for {needed} images in a row"
                if not self._viewer.watch.is_paused:  # it is not what influences it now
                    self._html.content, self._shown = "", None
                return
            if self._shown == (question, row.number):
                return
            answer = await ask(self._salience.answer, question, row)
        except StreamingNetError as error:
            self._told.text = str(error)
            return
        self._shown = (question, row.number)
        told = f"{question.output} {name}"
        self._html.content = saliency_html(answer.saliency, answer.images, told)
        self._told.text = self._note(needed)

    def _note(self, needed: int) -> str:
        changed = any(
            change.parameter.startswith(_TOUCHING) for change in self._viewer.watch.changes()
        )
        note = f"{needed} images can influence the answer"
        if needed == self._salience.most:
            note = f"the newest {needed} images; older ones count too, less and less"
        return note + ("; the network was changed since its weights were read" if changed else "")


def _select(label: str, options: list[str] | dict[int, str], value: object) -> ui.select:
    made = ui.select(options, value=value, label=label).props("dense options-dense")
    return made.style("min-width: 110px")
