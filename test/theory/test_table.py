"""The rollout table: what is printed can be read again, and what is wrong is told by line."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import MNIST_FF, POSTER, POSTER_MARKED, rollouts
from streaming_net_ros.errors import RolloutError
from streaming_net_ros.theory import (
    Edge,
    NetworkGraph,
    format_table,
    format_tableau,
    hybrid,
    parse_table,
    sequential,
    streaming,
)
from streaming_net_ros.theory.graph import is_word

GOLDEN = """\
rollout sequential of poster
source -> target  delay
u -> v                0
v -> v                1
v -> w                0
u -> w                0
w -> v                1
"""


def test_the_table_of_the_poster_network():
    assert format_table(sequential(POSTER_MARKED)) == GOLDEN


@given(rollouts(max_delay=120))
def test_a_printed_rollout_reads_back_as_itself(rollout):
    read = parse_table(format_table(rollout), rollout.graph)
    assert read == rollout
    assert read.name == rollout.name


WORDS = st.sampled_from(["rollout", "of", "source", "target", "delay", "0"])


@given(st.lists(WORDS | st.text().filter(is_word), min_size=2, max_size=5, unique=True))
def test_every_name_that_a_network_takes_reads_back(names):
    chain = tuple(Edge(*pair) for pair in pairwise(names))
    rollout = hybrid(NetworkGraph(chain, name=names[0]), {}, name=names[1])
    assert parse_table(format_table(rollout), rollout.graph) == rollout


def test_comments_blank_lines_and_order_are_free():
    first, columns, *edges = GOLDEN.splitlines()
    lines = ["# kept from the bench", "", f"  {first} # as it stands", columns, " ", *edges[::-1]]
    assert parse_table("\n".join(lines), POSTER_MARKED) == sequential(POSTER_MARKED)


def edited(number, line):
    lines = GOLDEN.splitlines()
    lines[number - 1] = line
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("number", "line", "told"),
    [
        (1, "rollout of poster", "no header: expected `rollout NAME of NETWORK`"),
        (1, "rollout a b of poster", "no header"),
        (1, "rollout a of", "no header"),
        (1, "rollout a of banner", "another network: expected poster, got banner"),
        (2, "u -> v 0", "no columns"),
        (3, "u -> v", "not an edge: expected `source -> target delay`, got u -> v"),
        (3, "u v 0", "not an edge"),
        (3, "u -> v zero", "not an edge"),
        (3, "u -> v -1", "not an edge"),
        (3, "u -> v ²", "not an edge"),
        (3, "u -> v 0 0", "not an edge"),
        (3, "w -> u 0", "no such edge: expected an edge of poster, got w -> u"),
        (4, "u -> v 1", "edge u -> v is there twice"),
        (7, "w -> v 0", "the edge's delay is fixed: expected 1, got 0"),
    ],
)
def test_a_wrong_line_is_told_by_its_number(number, line, told):
    with pytest.raises(RolloutError, match=f"^rollout table, line {number}: .*{told}"):
        parse_table(edited(number, line), POSTER_MARKED)


@pytest.mark.parametrize(
    ("text", "line"), [("", 1), ("# nothing\n", 1), ("rollout a of poster", 2)]
)
def test_a_table_without_header_or_columns_is_refused(text, line):
    with pytest.raises(RolloutError, match=f"line {line}: no "):
        parse_table(text, POSTER_MARKED)


def test_the_whole_table_must_be_a_valid_rollout():
    with pytest.raises(RolloutError, match="no delay for u -> v"):
        parse_table(edited(3, ""), POSTER_MARKED)
    with pytest.raises(RolloutError, match="no delay on the cycle v -> v"):
        parse_table(edited(4, "v -> v 0"), POSTER_MARKED)


def test_the_tableau_prints_as_a_grid_of_groups_and_frames():
    assert format_tableau(sequential(POSTER_MARKED), 3) == (
        "frame  0  1  2  3\n"
        "v      0  1  3  5\n"
        "w      0  2  4  6\n"
    )  # fmt: skip


@pytest.mark.parametrize("rollout", [sequential(POSTER_MARKED), sequential(MNIST_FF)])
def test_wide_numbers_keep_the_grid_aligned(rollout):
    lines = format_tableau(rollout, 120).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split() == ["frame", *map(str, range(121))]


def test_a_tableau_must_have_whole_frames():
    with pytest.raises(RolloutError, match="bad last_frame"):
        format_tableau(streaming(POSTER), -1)
