"""The graph: its nodes, its order, and every way in which it can be wrong."""

import networkx as nx
import pytest
from hypothesis import given

from strategies import POSTER, cifar_dsr, graphs, network
from streaming_net_ros.errors import NetworkFileError
from streaming_net_ros.theory import Edge, NetworkGraph


def test_nodes_come_in_order_of_appearance():
    graph = network("b>x a>x x>y y>y")
    assert graph.nodes == ("b", "x", "a", "y")
    assert graph.inputs == ("b", "a")
    assert graph.groups == ("x", "y")


def test_edges_print_as_arrows():
    assert str(Edge("a", "b", 2)) == "a -> b"


def test_edges_are_found_by_their_ends():
    graph = network("a>x a>y:2 x>y")
    assert graph.edge("a", "y") == Edge("a", "y", 2)
    assert graph.edges_into("y") == (Edge("a", "y", 2), Edge("x", "y"))
    assert graph.edges_into("a") == ()
    assert graph.edges_out_of("a") == (Edge("a", "x"), Edge("a", "y", 2))


def test_freeing_forgets_only_the_fixed_delays():
    graph = network("a>x:2 x>y", outputs=("x",), name="n")
    assert graph.freed() == network("a>x x>y", outputs=("x",), name="n")


@pytest.mark.parametrize(
    ("text", "outputs"),
    [
        ("a>x x>y x>z", ("y", "z")),
        ("a>x x>x a>y y>y", ("x", "y")),  # hearing oneself is no reason not to answer
        ("a>x x>y y>x", ("y",)),  # nobody unheard: the last group
    ],
)
def test_outputs_default_to_what_nobody_hears(text, outputs):
    assert network(text).outputs == outputs


def test_given_outputs_keep_their_order():
    assert network("a>x x>y", outputs=("y", "x")).outputs == ("y", "x")


def test_recurrent_edges_are_those_on_cycles():
    assert [str(e) for e in POSTER.recurrent_edges] == ["v -> v", "v -> w", "w -> v"]
    assert [str(e) for e in cifar_dsr(6).recurrent_edges] == ["h1 -> h1"]


@given(graphs())
def test_an_edge_is_recurrent_exactly_if_its_target_reaches_its_source(graph):
    for edge in graph.edges:
        back = nx.has_path(graph.digraph, edge.target, edge.source)
        assert (edge in graph.recurrent_edges) == back


def test_graphs_are_values():
    assert {network("a>x"), NetworkGraph([Edge("a", "x")])} == {network("a>x")}


def test_the_digraph_cannot_be_changed():
    with pytest.raises(nx.NetworkXError):
        POSTER.digraph.add_edge("w", "u")


@pytest.mark.parametrize(
    ("edges", "told"),
    [
        ([], "at least one edge"),
        ([Edge("a", "x"), Edge("a", "x", 1)], "edge a -> x is there twice"),
        ([Edge("a", "x", -1)], "bad delay of edge a -> x.*got -1"),
        ([Edge("a", "x", 1.0)], "got 1.0"),
        ([Edge("a", "x", True)], "got True"),
        ([Edge("a", "x"), Edge("p", "q"), Edge("q", "p")], "no input reaches p, q: .* from a"),
        ([Edge("a", "x"), Edge("s", "s")], "no input reaches s"),
        ([Edge("p", "q"), Edge("q", "p")], "no input: "),
    ],
)
def test_impossible_edges_are_refused(edges, told):
    with pytest.raises(NetworkFileError, match=told):
        NetworkGraph(tuple(edges))


@pytest.mark.parametrize("word", ["", " ", "a b", "a\tb", " a", "a#", "a->b", "a\x00", 3])
def test_names_that_a_table_cannot_hold_are_refused(word):
    with pytest.raises(NetworkFileError, match="bad node name"):
        NetworkGraph((Edge("a", word),))
    with pytest.raises(NetworkFileError, match="bad network name"):
        NetworkGraph((Edge("a", "x"),), name=word)


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        (("y",), "unknown output: expected one of x, got y"),
        (("a",), "an output is an input"),
        (("x", "x"), "an output is there twice"),
    ],
)
def test_impossible_outputs_are_refused(outputs, told):
    with pytest.raises(NetworkFileError, match=told):
        network("a>x", outputs=outputs)


def test_unknown_names_are_refused():
    with pytest.raises(NetworkFileError, match=r"network poster: unknown edge.*got w -> u"):
        POSTER.edge("w", "u")
    with pytest.raises(NetworkFileError, match="unknown node"):
        POSTER.edges_into("x")
    with pytest.raises(NetworkFileError, match="unknown node"):
        POSTER.edges_out_of("x")
