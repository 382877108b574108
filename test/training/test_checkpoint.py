"""Checkpoints: what goes in comes out bit for bit; a file is whole or not there."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from streaming_net_ros.errors import WeightsError
from streaming_net_ros.training.checkpoint import below, read_checkpoint, write_checkpoint
from training.toys import same

names = st.text(st.sampled_from("abcxyz._0123456789"), min_size=1, max_size=12)
dtypes = st.sampled_from([torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool])
facts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    seed = draw(st.integers(0, 2**31))
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 100
    return numbers.to(draw(dtypes))


class TestRoundTrip:
    @settings(max_examples=40)
    @given(
        st.dictionaries(names, tensors(), max_size=4),
        st.dictionaries(st.text(max_size=5), facts, max_size=4),
    )
    def test_tensors_and_facts_come_back_as_they_were(self, tensors, facts):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.safetensors"
            write_checkpoint(path, tensors, facts)
            read, told = read_checkpoint(path)
            assert list(Path(folder).iterdir()) == [path]
        assert told == facts
        assert same(read, tensors)
        assert all(read[name].dtype is tensor.dtype for name, tensor in tensors.items())

    def test_a_number_that_is_none_and_infinity_come_back(self, tmp_path):
        path = tmp_path / "a.safetensors"
        write_checkpoint(path, {}, {"a": [float("nan"), float("inf"), 0.1]})
        nan, infinity, tenth = read_checkpoint(path)[1]["a"]
        assert nan != nan and infinity == float("inf") and tenth == 0.1

    def test_views_transposes_and_shared_memory_are_stored_as_they_look(self, tmp_path):
        whole = torch.arange(12.0).view(3, 4).requires_grad_()
        given_ = {"whole": whole, "turned": whole.T, "part": whole[1], "again": whole}
        write_checkpoint(tmp_path / "a.safetensors", given_, {})
        read, _ = read_checkpoint(tmp_path / "a.safetensors")
        assert same(read, {name: t.detach() for name, t in given_.items()})

    def test_an_older_one_is_replaced(self, tmp_path):
        path = tmp_path / "a.safetensors"
        for number in (1, 2):
            write_checkpoint(path, {"a": torch.tensor([number])}, {"number": number})
        tensors, facts = read_checkpoint(path)
        assert tensors["a"].tolist() == [2] and facts == {"number": 2}


class TestWholeOrNotAtAll:
    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(WeightsError, match="cannot write the checkpoint") as error:
            write_checkpoint(tmp_path / "nowhere" / "a.safetensors", {"a": torch.ones(1)}, {})
        assert "nowhere" in str(error.value)
        assert list(tmp_path.iterdir()) == []

    def test_a_write_that_fails_leaves_the_older_one_and_nothing_else(self, tmp_path, monkeypatch):
        path = tmp_path / "a.safetensors"
        write_checkpoint(path, {"a": torch.ones(1)}, {"old": True})

        def full(stored, half_written, header):
            half_written.write_bytes(b"half")
            raise OSError("no space left")

        monkeypatch.setattr("streaming_net_ros.network.weights.save_file", full)
        with pytest.raises(WeightsError, match="no space left"):
            write_checkpoint(path, {"a": torch.zeros(1)}, {"old": False})
        assert read_checkpoint(path)[1] == {"old": True}
        assert list(tmp_path.iterdir()) == [path]


class TestWhatIsNoCheckpoint:
    @pytest.mark.parametrize("content", [None, b"", b"no checkpoint", b"\x08" + b"\0" * 7 + b"{"])
    def test_missing_and_damaged_files(self, tmp_path, content):
        path = tmp_path / "a.safetensors"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(WeightsError, match="cannot read the checkpoint") as error:
            read_checkpoint(path)
        assert str(path) in str(error.value) and "--resume" in str(error.value)

    def test_a_file_that_was_cut_off(self, tmp_path):
        path = tmp_path / "a.safetensors"
        write_checkpoint(path, {"a": torch.ones(100)}, {})
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(WeightsError, match="cannot read the checkpoint"):
            read_checkpoint(path)

    @pytest.mark.parametrize("header", [None, {"network": "tiny"}, {"training": "no json"}])
    def test_weights_alone_are_to_begin_with(self, tmp_path, header):
        path = tmp_path / "weights.safetensors"
        save_file({"a": torch.ones(1)}, path, header)
        with pytest.raises(WeightsError, match="holds weights, but no training") as error:
            read_checkpoint(path)
        assert "--init" in str(error.value)


def test_it_is_no_pickle(tmp_path):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, {"a": torch.ones(1)}, {"b": 1})
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert json.loads(header["__metadata__"]["training"]) == {"b": 1}


def test_what_lies_below_a_prefix():
    one, two, three = (torch.tensor([n]) for n in range(3))
    found = below({"a.b": one, "a.c.d": two, "ab.c": three}, "a.")
    assert same(found, {"b": one, "c.d": two})
