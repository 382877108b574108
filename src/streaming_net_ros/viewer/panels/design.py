"""Design: a network file as text, checked while it is typed, with what it would answer and when.

Only visitors with the token may design. The text is checked in a process of its own a moment
after the last key; what is saved lies below the viewer's folder and has passed the check; what is
started drives the simulated car in a namespace of its own.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from nicegui import ui

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.viewer.draft import MAX_TEXT, Branch, Draft, Planned, no_draft
from streaming_net_ros.viewer.page import Page
from streaming_net_ros.viewer.shelf import (
    SHIPPED,
    checked_path,
    copy_shipped_weights,
    network_files,
    read_text,
    save_text,
)

QUIET_S = 0.5  # after the last key
_IS_DARK = "return document.body.classList.contains('body--dark')"

_STYLE = """
body.body--dark { color-scheme: dark; }
.cm-editor { font-size: 12.5px; height: 100%; }
.cm-editor, .cm-editor .cm-gutters { background: var(--well) !important; }
.cm-line.wrong { background: color-mix(in srgb, var(--bad) 22%, transparent);
  box-shadow: inset 3px 0 0 var(--bad); }
.design .answers td, .design .answers th { padding: 2px 22px 2px 0; text-align: left; }
.design .answers th { font-weight: 600; font-size: 12px; }
.design .q-tree { font-size: 12px; }
.design .q-tree__node-header { padding: 1px 4px; }
"""


def build(page: Page) -> None:
    """Build the panel, or say that it needs the token."""
    if not page.may_control:
        why = "read-only" if page.viewer.guard.is_read_only else "open the page with its token"
        ui.label(f"Networks are designed by those who may change one: {why}.").classes("pale")
        return
    ui.add_css(_STYLE)
    _Panel(page)


@dataclass(frozen=True)
class _Taken:
    """What stood in the editor and its head when somebody pressed a button.

    A check takes a while, in which somebody may type on: what was checked is saved, not what
    stands there then.
    """

    text: str
    file: str
    overwrite: bool

    @property
    def what(self) -> tuple[str, str]:
        """What a check is about."""
        return self.file, self.text


def _saved(root: Path, taken: _Taken) -> Path | None:
    """The file, if exactly this text stands in it already."""
    try:
        return (
            checked_path(root, taken.file) if read_text(root, taken.file) == taken.text else None
        )
    except ParameterError:
        return None


class _Panel:
    def __init__(self, page: Page) -> None:
        self._page = page
        self._root = page.viewer.root
        self._checker, self._trial = page.viewer.checker, page.viewer.trial
        request = ui.context.client.request
        self._hostname = (request.url.hostname if request is not None else None) or "127.0.0.1"
        self._draft: Draft | None = None
        self._checked: object = None
        self._typed_s = 0.0
        self._is_checking = False
        with ui.row().classes("w-full gap-2 no-wrap design").style("height: calc(100vh - 116px)"):
            with ui.column().classes("card gap-2").style("flex: 1 1 50%; height: 100%"):
                self._head()
                self._editor = ui.codemirror(language="YAML", indent="  ", on_change=self._typed)
                self._editor.classes("w-full").style("flex: 1 1 0; min-height: 0")
                self._editor.props("data-name=design-text")
            with ui.column().classes("gap-2").style("flex: 1 1 50%; height: 100%; min-width: 0"):
                self._outcome()
        ui.timer(0.0, self._begin, once=True)
        page.every(QUIET_S, self._refresh)

    # --- what is on it ------------------------------------------------------------------------

    def _head(self) -> None:
        with ui.row().classes("w-full items-center gap-2 no-wrap"):
            ui.label("Design").classes("heading")
            self._choice = ui.select([], label="open").props("dense options-dense")
            self._choice.classes("grow").on_value_change(self._chosen)
            self._name = (
                ui.input("file").props("dense").classes("grow num").props("data-name=design-file")
            )
            self._overwrite = ui.checkbox("replace").props("dense size=xs").classes("text-xs pale")
            _button("save", "save", self._save).props("data-name=design-save")
            _button("drive", "play_arrow", self._start).props("data-name=design-start").tooltip(
                "saves, and starts it on the simulator: streaming-net view FILE --simulate"
            )
            _button("stop", "stop", self._stop).props("data-name=design-stop")

    def _outcome(self) -> None:
        with ui.element("div").classes("card w-full"):
            with ui.row().classes("w-full items-center gap-2 no-wrap"):
                self._dot = ui.element("div").classes("dot").style("flex: none")
                self._told = ui.label().classes("grow text-xs").props("data-name=design-told")
                self._told.style("cursor: pointer; overflow-wrap: anywhere")
                self._told.on("click", self._reveal)
            with ui.row().classes("w-full items-center gap-2 no-wrap"):
                self._run = ui.label().classes("pale text-xs grow").props("data-name=design-run")
                self._link = ui.link("open its page", "", new_tab=True).classes("text-xs")
        with ui.element("div").classes("card w-full").style("flex: none"):
            ui.label("What it would answer, before anything runs").classes("heading")
            self._plan = ui.html(sanitize=False).classes("w-full").props("data-name=design-plan")
        with ui.element("div").classes("card w-full").style("flex: none"):
            self._graph = ui.html(sanitize=False).classes("w-full").style("height: 190px")
        with ui.element("div").classes("card w-full").style("flex: 1 1 0; overflow: auto"):
            self._tree = ui.tree([], label_key="label").props("dense no-connectors")

    # --- typing and checking ------------------------------------------------------------------

    async def _begin(self) -> None:
        """Offer the files, and open the first."""
        await self._list()
        self._open(self._first_name())

    def _first_name(self) -> str:
        """The network that is looked at, if it may be opened; else the first file."""
        names = list(self._choice.options)
        path = self._page.viewer.spec.path.resolve()
        own = str(path.relative_to(self._root)) if path.is_relative_to(self._root) else ""
        return next((n for n in (own, f"{SHIPPED}{path.stem}") if n in names), names[0])

    def _chosen(self, event: Any) -> None:
        if event.value:
            self._open(event.value)

    def _open(self, name: str) -> None:
        try:
            text = read_text(self._root, name)
        except ParameterError as error:
            ui.notify(str(error), type="negative")
            return
        self._choice.value = name
        stem = name.removeprefix(SHIPPED)
        self._name.value = f"my_{stem}.yaml" if stem != name else name
        self._editor.value = text

    def _typed(self) -> None:
        self._typed_s = asyncio.get_running_loop().time()

    @property
    def _file(self) -> str:
        return (self._name.value or "").strip() or "draft.yaml"

    async def _refresh(self) -> None:
        """Check what was typed once the keys are quiet; tell how the trial stands."""
        await self._match_theme()
        self._tell_trial()
        is_quiet = asyncio.get_running_loop().time() - self._typed_s >= QUIET_S
        taken = self._taken()
        is_quiet = is_quiet and bool(self._choice.options)  # else nothing is open yet
        if is_quiet and not self._is_checking and taken.what != self._checked:
            await self._check(taken)

    def _tell_trial(self) -> None:
        """How the trial stands, and where its page is for this visitor."""
        address, port = self._trial.seen_from(self._hostname)
        forward = f"; from another machine, forward port {port} too" if port else ""
        self._run.text = f"{self._trial.told}{forward}"
        self._link.set_visibility(bool(address))
        if address and self._link.props.get("href") != address:
            self._link.props["href"] = address
            self._link.update()

    async def _match_theme(self) -> None:
        """The editor's colours are its own: they follow those of the page."""
        try:
            is_dark = await ui.run_javascript(_IS_DARK, timeout=1.0)
        except TimeoutError:  # a hidden tab answers late
            return
        if is_dark != (self._editor.theme == "basicDark"):
            self._editor.theme = "basicDark" if is_dark else "basicLight"

    def _taken(self) -> _Taken:
        return _Taken(self._editor.value or "", self._file, bool(self._overwrite.value))

    async def _check(self, taken: _Taken) -> Draft:
        """The outcome for what was taken, shown."""
        self._is_checking = True
        try:
            checked_path(self._root, taken.file)
            if len(taken.text) > MAX_TEXT:
                raise ParameterError(
                    "too long for this page", where=taken.file,
                    expected=f"at most {MAX_TEXT} characters",
                )  # fmt: skip
            draft = await asyncio.get_running_loop().run_in_executor(
                self._page.viewer.checking, self._checker.check, taken.text, taken.file
            )
        except ParameterError as error:
            draft = no_draft(str(error))
        finally:
            self._is_checking = False
        self._checked, self._draft = taken.what, draft
        self._show(draft)
        return draft

    def _show(self, draft: Draft) -> None:
        line = draft["line"]
        self._dot.classes(replace=f"dot {'absent' if draft['error'] else 'running'}")
        place = f"line {line}: " if line else ""
        fine = f"{draft['name']}: right; {draft['parameters']:,} weights"
        if draft["missing"]:
            fine += f"; {draft['missing']} is not there: without that line they are random"
        self._told.text = f"{place}{draft['error']}" if draft["error"] else fine
        wrong = [{"kind": "line", "line": line, "class": "wrong"}] if line else []
        self._editor.decorations = wrong
        self._editor.line_tooltips = {line: draft["error"]} if line else {}
        if draft["plans"] or not draft["error"]:  # else what was last right stays in sight
            self._plan.content = plan_table(draft)
            self._graph.content = draft["svg"]
            self._tree.props["nodes"] = draft["tree"]
            self._tree.update()
            self._tree.expand(["inputs", "groups", "outputs", *_names(draft["tree"])])

    async def _list(self) -> None:
        """Offer the files that are there now."""
        names = await asyncio.to_thread(network_files, self._page.viewer.listing)
        self._choice.set_options(names)

    def _reveal(self) -> None:
        if self._draft is not None and self._draft["line"]:
            self._editor.reveal_line(self._draft["line"])

    # --- saving and starting ------------------------------------------------------------------

    async def _save(self) -> None:
        """Save what stands here now, if it passes the check and this visitor may."""
        taken = self._taken()
        draft = await self._check(taken)
        if draft["error"]:
            ui.notify("not saved: " + draft["error"], type="negative")
            return
        await self._write(taken)

    async def _write(self, taken: _Taken) -> Path | None:
        """Write exactly what was taken and has passed the check; where it is, if it is."""
        if not self._page.may_control:
            ui.notify("this page may not change anything", type="negative")
            return None
        try:
            path = await asyncio.to_thread(
                save_text, self._root, taken.file, taken.text, overwrite=taken.overwrite
            )
        except ParameterError as error:
            ui.notify(str(error), type="negative")
            return None
        self._page.viewer.listing.forget()
        await self._list()
        ui.notify(f"saved {taken.file}", type="positive", position="bottom-left")
        return path

    async def _start(self) -> None:
        """Save what stands here now, if it is not, and start just that."""
        taken = self._taken()
        draft = await self._check(taken)
        why = "" if draft["drives"] else "no output publishes a twist: it does not drive"
        why = draft["error"] or why
        if draft["missing"] and not why:
            why = await self._fetch_weights(taken, draft["missing"])
        if why:
            ui.notify(f"not started: {why}", type="negative")
            return
        path = await asyncio.to_thread(_saved, self._root, taken) or await self._write(taken)
        if path is None:
            return
        if not self._page.may_control or not self._trial.start(path, draft["name"]):
            ui.notify("another one is driving: stop it first", type="negative")

    async def _fetch_weights(self, taken: _Taken, weights: str) -> str:
        """Copy the shipped weights of that name beside the file; why not, if not."""
        if not self._page.may_control:
            return "this page may not change anything"
        try:
            is_there = await asyncio.to_thread(
                copy_shipped_weights, self._root, taken.file, weights
            )
        except ParameterError as error:
            return str(error)
        if is_there:
            ui.notify(f"{weights}: a copy of the shipped weights", position="bottom-left")
            self._checked = None  # it is no longer missing: check once more
        return "" if is_there else f"the weights file {weights} is not there"

    async def _stop(self) -> None:
        if self._page.may_control:
            await asyncio.to_thread(self._trial.stop)


def plan_table(draft: Draft) -> str:
    """First and full response of every output, a column for each rollout, as HTML."""
    plans = draft["plans"]
    names = "".join(f"<th>{escape(plan['rollout'])}</th>" for plan in plans)
    rows = [f"<tr><td></td>{names}</tr>"]
    for number, answer in enumerate(plans[0]["answers"] if plans else []):
        for when in ("first", "full"):
            cells = "".join(f"<td class='num'>{_when(plan, number, when)}</td>" for plan in plans)
            name = f"{escape(answer['output'])}, {when} response"
            rows.append(f"<tr><td>{name}</td>{cells}</tr>")
    factors = "".join(f"<td class='num'>{plan['factor']}</td>" for plan in plans)
    rows.append(f"<tr class='pale'><td>update steps a frame</td>{factors}</tr>")
    return f"<table class='answers'>{''.join(rows)}</table>"


def _when(plan: Planned, number: int, when: str) -> str:
    answer = plan["answers"][number]
    frames, ms = answer["first_frames"], answer["first_ms"]
    if when == "full":
        frames, ms = answer["full_frames"], answer["full_ms"]
    if not frames:
        return "within the frame"
    return f"{frames} frame{'' if frames == 1 else 's'}, {ms:.0f} ms"


def _names(tree: list[Branch]) -> list[str]:
    return [branch["id"] for part in tree for branch in part.get("children", [])]


def _button(label: str, icon: str, work: Any) -> ui.button:
    made = ui.button(label, icon=icon, on_click=work)
    return made.props("flat dense no-caps size=sm")
