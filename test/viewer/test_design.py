"""Design: what is saved and started is what was checked, however fast somebody goes on typing."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("nicegui", reason="the page's library is not installed: extra 'view'")
pytest.importorskip("rclpy", reason="rclpy is not installed: extra 'ros'")

from streaming_net_ros.viewer.draft import no_draft
from streaming_net_ros.viewer.files import Listing
from streaming_net_ros.viewer.panels import design


class Hands:
    """A panel without a browser, whose visitor types on while the text is checked."""

    def __init__(self, root, monkeypatch, error=""):
        monkeypatch.setattr(design.ui, "notify", lambda *_, **__: None)
        self.checked, self.started = [], []
        panel = self.panel = object.__new__(design._Panel)
        panel._page = SimpleNamespace(
            may_control=True, viewer=SimpleNamespace(listing=Listing(root), checking=None)
        )
        panel._root = root
        panel._editor = SimpleNamespace(value="name: checked")
        panel._name = SimpleNamespace(value="mine.yaml")
        panel._overwrite = SimpleNamespace(value=False)
        panel._show = lambda draft: None
        panel._list = lambda: asyncio.sleep(0)
        panel._checker = SimpleNamespace(check=self.check)
        panel._trial = SimpleNamespace(start=lambda path, _: self.started.append(path) or True)
        self.error = error

    def check(self, text, file):
        self.checked.append((file, text))
        self.panel._editor.value = "name: typed_meanwhile"
        self.panel._name.value = "other.yaml"
        self.panel._overwrite.value = True
        return {**no_draft(self.error), "drives": True}


@pytest.mark.parametrize("work", ["_save", "_start"])
def test_what_was_checked_is_saved_and_nothing_that_was_typed_meanwhile(
    tmp_path, monkeypatch, work
):
    hands = Hands(tmp_path, monkeypatch)
    asyncio.run(getattr(hands.panel, work)())
    assert hands.checked == [("mine.yaml", "name: checked")]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
    assert (tmp_path / "mine.yaml").read_text() == "name: checked"
    assert hands.started == ([tmp_path / "mine.yaml"] if work == "_start" else [])


def test_replacing_is_what_was_asked_for_before_the_check(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text("there")
    asyncio.run(Hands(tmp_path, monkeypatch).panel._save())
    assert (tmp_path / "mine.yaml").read_text() == "there"


def test_what_is_wrong_is_neither_saved_nor_started(tmp_path, monkeypatch):
    hands = Hands(tmp_path, monkeypatch, "wrong")
    asyncio.run(hands.panel._start())
    assert not list(tmp_path.iterdir()) and not hands.started


def test_an_answer_without_a_delay_is_told_as_within_the_frame():
    answer = {"output": "drive", "first_frames": 0, "first_ms": 0.0, "full_frames": 1,
              "full_ms": 50.0}  # fmt: skip
    plan = {"rollout": "sequential", "factor": 2, "answers": [answer]}
    table = design.plan_table({**no_draft(""), "plans": [plan]})
    assert "within the frame" in table and "1 frame, 50 ms" in table and "0 frames" not in table


def test_the_shipped_weights_that_a_draft_names_are_put_beside_it(tmp_path, monkeypatch):
    hands = Hands(tmp_path, monkeypatch)
    check = hands.check
    monkeypatch.setattr(
        hands.panel._checker, "check", lambda *a: {**check(*a), "missing": "pilot.safetensors"}
    )
    asyncio.run(hands.panel._start())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.yaml", "pilot.safetensors"]
    assert hands.started == [tmp_path / "mine.yaml"]
