"""Random networks and rollouts for hypothesis, and the published networks, for every room."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st

from streaming_net_ros.theory import Edge, NetworkGraph, Rollout

# A loaded machine must not fail a law; pytest's own timeout catches what hangs.
settings.register_profile("laws", deadline=None)
settings.load_profile("laws")


@st.composite
def graphs(draw, max_groups: int = 5, max_inputs: int = 2, max_edges: int = 10) -> NetworkGraph:
    """A network without fixed delays: cycles, self-edges and skips, every group reachable."""
    inputs = [f"in{i}" for i in range(draw(st.integers(1, max_inputs)))]
    groups = [f"g{i}" for i in range(draw(st.integers(1, max_groups)))]
    # A tree makes every group reachable and every input heard; the rest is chance.
    keys = [(draw(st.sampled_from(inputs + groups[:i])), group) for i, group in enumerate(groups)]
    keys += [(image, draw(st.sampled_from(groups))) for image in inputs]
    keys = list(dict.fromkeys(keys))
    others = [(u, v) for u in inputs + groups for v in groups if (u, v) not in keys]
    if others:
        room = max(0, max_edges - len(keys))
        keys += draw(st.lists(st.sampled_from(others), unique=True, max_size=room))
    outputs = draw(st.lists(st.sampled_from(groups), unique=True))
    edges = draw(st.permutations([Edge(*key) for key in keys]))
    return NetworkGraph(tuple(edges), tuple(outputs), "random")


@st.composite
def rollouts(draw, max_delay: int = 3, fixed: bool = True, **limits: int) -> Rollout:
    """A valid rollout of a random network; every valid pattern can come up.

    The edges against a random order of the groups get delays of at least 1, so no cycle is free.
    With `fixed`, some of the delays are also fixed in the network.
    """
    graph = draw(graphs(**limits))
    place = {node: i for i, node in enumerate(draw(st.permutations(graph.groups)))}
    delays = {}
    for edge in graph.edges:
        ahead = place.get(edge.source, -1) < place[edge.target]
        delays[edge.key] = draw(st.integers(0 if ahead else 1, max_delay))
    if fixed:
        marked = draw(st.sets(st.sampled_from(graph.edges)))
        edges = tuple(replace(e, delay=delays[e.key]) if e in marked else e for e in graph.edges)
        graph = replace(graph, edges=edges)
    return Rollout(graph, delays, draw(st.sampled_from(["hybrid", "tuned_2"])))


def network(text: str, **facts) -> NetworkGraph:
    """A graph from ``"a>b b>c"``; ``"a>b:1"`` fixes a delay."""
    edges = []
    for word in text.split():
        arrow, _, delay = word.partition(":")
        edges.append(Edge(*arrow.split(">"), int(delay) if delay else None))
    return NetworkGraph(tuple(edges), **facts)


POSTER = network("u>v v>v v>w u>w w>v", outputs=("w",), name="poster")
POSTER_MARKED = network("u>v v>v v>w u>w w>v:1", outputs=("w",), name="poster")

MNIST_FF = network("image>h1 h1>h2 h2>out", name="ff")
MNIST_S = network("image>h1 h1>h2 h2>out h1>out", name="s")
MNIST_SR = network("image>h1 h1>h2 h2>out h1>out h1>h1", name="sr")


def cifar_dsr(more: int) -> NetworkGraph:
    """DSR0 to DSR6: two densely connected stages before a head, the first group recurrent.

    Each further group goes to stage 1 and 2 in turn and hears all earlier ones of its stage; h2
    hears all of stage 1, the head all of stage 2.
    """
    stages = [["h1", *["h11", "h12", "h13"][: (more + 1) // 2]]]
    stages.append(["h2", *["h21", "h22", "h23"][: more // 2]])
    edges = [("image", "h1"), ("h1", "h1"), ("hd", "out")]
    edges += [(u, v) for stage in stages for i, v in enumerate(stage) for u in stage[:i]]
    edges += [(u, "h2") for u in stages[0]] + [(u, "hd") for u in stages[1]]
    return NetworkGraph(tuple(Edge(*key) for key in edges), name=f"dsr{more}")
