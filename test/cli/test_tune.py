"""``streaming-net tune``: measures, chooses, writes a file that is read back."""

from __future__ import annotations

import io
import json
import os

import pytest
import torch
from rich.console import Console

from networks import TINY
from streaming_net_ros.cli.app import main
from streaming_net_ros.cli.tune import available_cores, parse_cores
from streaming_net_ros.cli.tune_outcome import Outcome
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network import backends, parse_network
from streaming_net_ros.network.measuring import Figure, GroupFigures, Way
from streaming_net_ros.network.tuning import read_tuning, this_machine

SPEC = parse_network(TINY)


@pytest.fixture
def tune(write_network, tmp_path, capsys, monkeypatch):
    """Runs the verb on the tiny network, eagerly unless told: (exit code, what it said)."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    path = write_network(TINY, "tiny.yaml")

    def run(*arguments, backend="eager"):
        code = main(["tune", str(path), "--seconds-per", "0.01", "--backend", backend,
                     *map(str, arguments)])  # fmt: skip
        return code, capsys.readouterr()

    yield run
    torch.set_num_threads(threads)


def test_the_file_it_writes_is_read_back(tune, tmp_path):
    code, said = tune("--cores", "all", "--tolerance", "1e-3")
    assert code == 0, said.err
    told = read_tuning(tmp_path / "tiny.tuning.yaml", SPEC)
    assert told.groups.keys() == {group.name for group in SPEC.groups}
    assert told.tolerance == 1e-3 and told.machine == this_machine()
    for group in told.groups.values():
        assert group.backend == "eager" and group.eager_ms == group.chosen_ms > 0
        assert group.deviation == 0 and set(group.cores) <= set(available_cores())
    assert "frames/s eagerly" in said.out and "tiny.tuning.yaml" in said.out
    assert f"core {available_cores()[0]}: " in said.out
    code, said = tune("--out", "tiny.tuning.yaml")  # its own file may be written anew
    assert (
        code == 0 and read_tuning(tmp_path / "tiny.tuning.yaml", SPEC).groups["stem"].cores is None
    )


def test_json_has_every_figure(tune):
    code, said = tune("--json", "--threads", "1", "--threads", "2")
    told = json.loads(said.out)
    assert code == 0 and told["groups"]["stem"]["ways"].keys() == {"eager", "eager x2"}
    assert told["bound_hz"]["eager"] > 0 and told["loads_ms"] == {}


def test_what_would_keep_others_waiting_is_marked_and_not_chosen():
    eager, compiled = Way("eager", 1), Way("compile", 1)
    figures = {eager: Figure(2.0, 0.0), compiled: Figure(1.0, 0.0, holds_interpreter=True)}
    outcome = Outcome.of([GroupFigures("stem", figures)], 1e-4, [], torch.device("cpu"))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(outcome.table("here"))
    told = " ".join(console.export_text().split())
    assert "2.000*" in told and "1.000!" in told and "! keeps other groups" in told
    ways = outcome.to_json([])["groups"]["stem"]["ways"]
    assert ways["compile"]["is_in_the_way"] and not ways["eager"]["is_in_the_way"]


def test_another_backend_is_measured_beside_eager(tune, tmp_path):
    lacking = backends.what_lacks("onnxruntime")
    if lacking is not None:
        pytest.skip(str(lacking))
    code, said = tune("--json", backend="onnxruntime")
    told = json.loads(said.out)
    assert code == 0, said.err
    for group in told["groups"].values():
        assert group["ways"].keys() == {"eager", "onnxruntime"}
        assert 0 <= group["ways"]["onnxruntime"]["deviation"] < 1e-4


def test_it_writes_over_nothing_else(tune, tmp_path):
    (tmp_path / "notes.yaml").write_text("milk: 1\n")
    code, said = tune("--out", tmp_path / "notes.yaml")
    assert code == 2 and "will not write over" in said.err
    assert (tmp_path / "notes.yaml").read_text() == "milk: 1\n"
    code, said = tune("--out", tmp_path / "no" / "file.yaml")
    assert code == 2 and "no such folder" in said.err


def test_a_backend_that_is_asked_for_and_missing_is_an_error(tune, monkeypatch):
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    code, said = tune(backend="openvino")
    assert code == 3 and "backend openvino needs openvino and onnx" in said.err
    code, said = tune(backend="tvm")
    assert code == 2 and "--backend: no such backend" in said.err


def test_a_backend_of_another_device_is_an_error(tune):
    code, said = tune(backend="cuda_graph")
    assert code == 2 and "a backend that is not for cpu" in said.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU here")
def test_a_gpu_that_is_not_there_is_an_error(tune):
    code, said = tune("--device", "cuda")
    assert code == 2 and "--device: cannot use this device" in said.err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")
def test_a_gpu_is_part_of_the_file(tune, tmp_path):
    code, said = tune("--device", "cuda", backend="cuda_graph")
    assert code == 0, said.err
    told = read_tuning(tmp_path / "tiny.cuda.tuning.yaml", SPEC)
    assert told.device == "cuda" and told.machine.gpu == torch.cuda.get_device_name()
    code, said = tune("--device", "cuda", "--cores", "all")
    assert code == 2 and "--cores: a group on a GPU" in said.err


@pytest.mark.parametrize("text", ["a", "1-", "0,,1", "-1", "60000", ",", "0-b", "1-0"])
def test_what_are_no_cores_is_told(text):
    with pytest.raises(ParameterError, match=r"--cores: no (CPU numbers|such core)"):
        parse_cores(text)


def test_cores_are_numbers_and_ranges(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 7})
    assert parse_cores("") == [] and parse_cores("all") == [0, 1, 2, 3, 7]
    assert parse_cores("7,1-2,2") == [7, 1, 2]
