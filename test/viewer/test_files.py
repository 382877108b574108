"""A page lists what lies below one folder: not all of it where there is much, and once for all."""

import pytest

from streaming_net_ros.viewer import files
from streaming_net_ros.viewer.files import Listing, found_below


@pytest.fixture
def root(tmp_path):
    for name in ("b.yaml", "a/c.yaml", "a/w.safetensors", "a/text.txt", ".hidden/d.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_what_is_found_is_in_order_of_its_name_and_hidden_folders_are_left_out(root):
    assert found_below(root) == ["a/c.yaml", "a/w.safetensors", "b.yaml"]


def test_the_nearest_are_found_and_no_more_entries_are_looked_at_than_allowed(root, monkeypatch):
    monkeypatch.setattr(files, "_MOST_ENTRIES", 4)
    for number in range(50):
        (root / "a" / f"z{number}").mkdir()
    assert "b.yaml" in found_below(root)
    looked = []
    monkeypatch.setattr(files, "_is_wanted", lambda entry: looked.append(entry) or False)
    found_below(root)
    assert len(looked) <= 4


def test_what_lies_too_deep_is_not_found_and_a_circle_of_links_ends(root, monkeypatch):
    monkeypatch.setattr(files, "_MOST_DEEP", 2)
    (root / "a" / "b").mkdir()
    (root / "a" / "b" / "deep.yaml").touch()
    (root / "a" / "around").symlink_to(root)
    assert "a/b/deep.yaml" not in found_below(root)
    assert "a/c.yaml" in found_below(root)


def test_many_who_ask_cost_one_walk_until_it_is_old_or_something_was_written(root, monkeypatch):
    walked = []
    monkeypatch.setattr(files, "found_below", lambda root: walked.append(root) or ["a", "b.x"])
    now_s = [100.0]
    listing = Listing(root, clock=lambda: now_s[0])
    for _ in range(20):
        assert listing.names(".x") == ["b.x"]
    assert len(walked) == 1
    listing.forget()
    listing.names(".x")
    assert len(walked) == 2
    now_s[0] += files.KEPT_S + 1
    listing.names(".x")
    assert len(walked) == 3
