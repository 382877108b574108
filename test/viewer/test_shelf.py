"""A page reads and writes network files below one folder, and nothing else."""

import pytest

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.viewer.draft import MAX_TEXT
from streaming_net_ros.viewer.files import Listing
from streaming_net_ros.viewer.shelf import (
    SHIPPED,
    copy_shipped_weights,
    network_files,
    read_text,
    save_text,
)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.yaml").write_text("secret")
    return folder


def test_what_was_saved_is_listed_and_read_again(root):
    for name in ("a.yaml", "sub/b.yml", "new/er/c.yaml"):
        save_text(root, name, f"name: {name} \u00e9\n", overwrite=False)
        assert read_text(root, name) == f"name: {name} \u00e9\n"
    assert network_files(Listing(root))[:3] == ["a.yaml", "new/er/c.yaml", "sub/b.yml"]
    assert not list(root.rglob("*.part"))


def test_shipped_networks_can_be_read(root):
    assert f"{SHIPPED}pilot" in network_files(Listing(root))
    assert "name: pilot" in read_text(root, f"{SHIPPED}pilot")


NOT_NAMES = [
    "", ".", "..", "/etc/passwd", "../secret.yaml", "a/../../secret.yaml", "secret", "a.txt",
    ".hidden.yaml", "sub/.x/a.yaml", "a b.yaml", "a\n.yaml", "a\0.yaml", "\u00e9.yaml",
    "x" * 300 + ".yaml", "sub//a.yaml", "\\a.yaml", "~/a.yaml", f"{SHIPPED}../secret",
]  # fmt: skip


@pytest.mark.parametrize("name", NOT_NAMES, ids=range(len(NOT_NAMES)))
def test_what_is_no_name_is_neither_read_nor_written(root, name):
    before = sorted(root.parent.rglob("*"))
    with pytest.raises(ParameterError):
        read_text(root, name)
    with pytest.raises(ParameterError):
        save_text(root, name, "mine", overwrite=True)
    assert sorted(root.parent.rglob("*")) == before
    assert (root.parent / "secret.yaml").read_text() == "secret"


def test_a_link_out_of_the_folder_is_neither_listed_nor_followed(root):
    (root / "link.yaml").symlink_to(root.parent / "secret.yaml")
    (root / "out").symlink_to(root.parent)
    assert "link.yaml" not in network_files(Listing(root))
    for name in ("link.yaml", "out/secret.yaml"):
        with pytest.raises(ParameterError, match="not below"):
            read_text(root, name)
        with pytest.raises(ParameterError, match="not below"):
            save_text(root, name, "mine", overwrite=True)


def test_nothing_is_replaced_unless_it_may_be(root):
    save_text(root, "a.yaml", "one", overwrite=False)
    with pytest.raises(ParameterError, match="will not write over what exists"):
        save_text(root, "a.yaml", "two", overwrite=False)
    assert read_text(root, "a.yaml") == "one"
    save_text(root, "a.yaml", "two", overwrite=True)
    assert read_text(root, "a.yaml") == "two"


def test_what_is_too_long_or_no_text_is_refused(root):
    with pytest.raises(ParameterError, match="too long"):
        save_text(root, "a.yaml", "x" * (MAX_TEXT + 1), overwrite=False)
    (root / "long.yaml").write_text("x" * (MAX_TEXT + 1))
    with pytest.raises(ParameterError, match="too long"):
        read_text(root, "long.yaml")
    (root / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ParameterError, match="not a text file"):
        read_text(root, "bytes.yaml")
    with pytest.raises(ParameterError, match="cannot be written"):
        save_text(root, "a.yaml", "\ud800", overwrite=False)
    (root / "folder.yaml").mkdir()
    with pytest.raises(ParameterError, match="cannot be written"):
        save_text(root, "folder.yaml", "x", overwrite=True)


def test_shipped_weights_are_put_beside_a_file_that_names_them_and_over_none(root):
    assert copy_shipped_weights(root, "sub/car.yaml", "pilot.safetensors")
    copied = root / "sub" / "pilot.safetensors"
    assert copied.read_bytes()
    copied.write_text("mine")
    assert copy_shipped_weights(root, "sub/car.yaml", "pilot.safetensors")
    assert copied.read_text() == "mine"
    assert not copy_shipped_weights(root, "car.yaml", "nobodys.safetensors")
    assert not copy_shipped_weights(root, "car.yaml", "pilot.yaml")
    for outside in ("../pilot.safetensors", "/tmp/pilot.safetensors"):
        with pytest.raises(ParameterError):
            copy_shipped_weights(root, "car.yaml", outside)
    assert [path.name for path in sorted(root.iterdir())] == ["sub"]
