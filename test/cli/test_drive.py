"""The verb ``drive``: one command gives table, JSON and picture; the same each time."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from streaming_net_ros.cli.app import main
from streaming_net_ros.cli.drive_entrants import find_entrants, parse_speeds, parse_work
from streaming_net_ros.cli.drive_picture import COLOURS
from streaming_net_ros.cli.drive_text import largest_text
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network import read_network_file
from streaming_net_ros.paths import find_network

SHORT = ["--seeds", "1", "--laps", "0.1", "--speeds", "1.2,2.2"]


def drive(out, *arguments):
    return main(["drive", "--out", str(out), *SHORT, *map(str, arguments)])


@cache
def pilot():
    return read_network_file(find_network("pilot"))


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    """What a short run of everything wrote, and said."""
    out = tmp_path_factory.mktemp("drive") / "out"
    with redirect_stdout(io.StringIO()) as said:
        assert drive(out) == 0
    return SimpleNamespace(out=out, said=said.getvalue())


def told(out):
    return json.loads((out / "drive.json").read_text())


def test_all_ways_of_running_are_compared_at_equal_compute(driven):
    content = told(driven.out)
    names = [outcome["name"] for outcome in content["outcomes"]]
    assert names == [*COLOURS, "no compute time"]
    assert set(content["work_ms"].values()) == {35.0} and content["workers"] == 5
    frames = content["pass_ms"] / 1000 * content["camera_hz"]
    assert 3 <= frames <= 4
    for outcome in content["outcomes"]:
        assert [track["track_seed"] for track in outcome["tracks"]] == [9001]
        assert len(outcome["common"]) == 1


def test_streaming_goes_faster_than_sequential(driven):
    outcomes = {outcome["name"]: outcome for outcome in told(driven.out)["outcomes"]}
    fast, slow = outcomes["streaming"], outcomes["sequential"]
    assert fast["largest_speed_mps"] > (slow["largest_speed_mps"] or 0)
    young, old = fast["common"][0]["age_mean_ms"], slow["common"][0]["age_mean_ms"]
    assert young < old / 2


def test_the_same_drives_are_told_again_whoever_else_takes_part(driven, tmp_path):
    before = told(driven.out)
    chosen = ["--only", "streaming", "--only", "sequential", "--at", before["common_speed_mps"]]
    assert drive(tmp_path / "out", *chosen) == 0
    again = told(tmp_path / "out")
    outcomes = {outcome["name"]: outcome for outcome in before.pop("outcomes")}
    assert again.pop("outcomes") == [outcomes["streaming"], outcomes["sequential"]]
    assert again == before


def test_the_picture_shows_every_way_in_its_colour(driven):
    picture = cv2.imread(str(driven.out / "drive.png"))[..., ::-1].reshape(-1, 3)
    assert len(picture) > 500_000
    for colour in COLOURS.values():
        rgb = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
        assert (np.abs(picture.astype(int) - rgb).max(axis=1) < 3).sum() > 300, colour


def test_the_table_names_all_and_says_where_things_are(driven):
    said = " ".join(driven.said.split())
    assert "5 groups of 35 ms, 5 at once: one pass takes 175 ms, 3.5 frames of a 20 Hz" in said
    assert "streaming" in said and ">= 2.2" in said and "drive.json, drive.png" in said


def test_json_on_the_terminal_is_the_file(tmp_path, capsys):
    arguments = ["--only", "sequential", "--work", "stem=5", "--speeds", "1.2", "--json"]
    assert drive(tmp_path / "out", *arguments) == 0
    content = json.loads(capsys.readouterr().out)
    assert content == told(tmp_path / "out")
    assert content["work_ms"]["stem"] == 5 and content["pass_ms"] == 145


def test_the_networks_own_throttle_may_drive(tmp_path):
    arguments = ["--only", "streaming", "--own-throttle", "--speeds", "2"]
    assert drive(tmp_path / "out", *arguments) == 0
    score = told(tmp_path / "out")["outcomes"][0]["common"][0]
    assert 0.8 < score["speed_mps"] < 1.8 and score["asked_mps"] == 2


@pytest.mark.parametrize(
    "arguments, place",
    [
        (["--speeds", "fast"], "--speeds"),
        (["--speeds", "1:2:0"], "--speeds"),
        (["--speeds", "2,1"], "rise"),
        (["--speeds", "1,nan"], "rise"),
        (["--only", "warp"], "--only"),
        (["--work", "tail=3"], "--work"),
        (["--work", "stem=-1"], "--work"),
        (["--work", "stem"], "--work"),
        (["--network", "nowhere"], "nowhere"),
        (["--network", "mnist_sr"], "mnist_sr"),
        (["--network", "pilot_single"], "pilot_single"),
        (["--at", "nan"], "speed_mps"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, place, tmp_path, capsys):
    assert drive(tmp_path / "out", *arguments) == 2
    said = capsys.readouterr().err
    assert said.count("error: ") == 1 and place in said, said
    assert not (tmp_path / "out").exists()


def test_what_exists_is_not_written_over(tmp_path, capsys):
    (tmp_path / "mine").write_text("dear")
    assert drive(tmp_path) == 2
    assert "will not write over" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_made_is_told_before_the_work(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert drive(tmp_path / "file" / "out") == 2
    assert "--out" in capsys.readouterr().err


def test_speeds_are_read_as_a_range_or_a_list():
    assert parse_speeds("1:1.3:0.1") == (1.0, 1.1, 1.2, 1.3)
    assert parse_speeds("0.5,2") == (0.5, 2.0)


def test_work_is_that_of_all_groups_but_those_named():
    assert parse_work(pilot(), 2, ["road=0.5"])["road"] == 500_000
    assert set(parse_work(pilot(), 2, []).values()) == {2_000_000}


def test_a_hybrid_takes_part_only_with_a_file_of_its_own(tmp_path):
    from streaming_net_ros.cli.drive_entrants import find_conditions

    path = Path(find_network("pilot"))
    (tmp_path / "mine.yaml").write_text(
        f"base: {path}\nname: mine\nweights: {pilot().weights_path}\n"
    )
    conditions = find_conditions(str(tmp_path / "mine.yaml"), 35, [], 0, 20)
    names = [e.name for e in find_entrants(str(tmp_path / "mine.yaml"), [], conditions)]
    assert names == ["streaming", "pipelined", "sequential", "no compute time"]
    with pytest.raises(ParameterError, match="hybrid"):
        find_entrants(str(tmp_path / "mine.yaml"), ["hybrid"], conditions)


def test_a_bound_is_told_as_one():
    from streaming_net_ros.evaluation.driving.speeds import SpeedSearch

    class Score:
        def __init__(self, asked_mps, is_kept):
            self.asked_mps, self.is_kept = asked_mps, is_kept

    assert largest_text(SpeedSearch(1, (Score(1.0, False),))) == "< 1"
    assert largest_text(SpeedSearch(1, (Score(1.0, True), Score(1.5, False)))) == "1"
    assert largest_text(SpeedSearch(1, (Score(1.0, True), Score(1.5, True)))) == ">= 1.5"
