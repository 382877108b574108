"""Who else is there: matched endpoints before the first frame, and no name twice.

Discovery takes up to seconds and ends at no stated time, so a run waits until every publisher has
matched every reader that the network file names, never for a number of seconds. A process that
was killed cannot say so: its nodes stay in the graph of those who knew it until its lease ends
(config/fastdds.xml: 5 s). `who_lives` tells such ghosts from the living.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSCompatibility, qos_check_compatible
from rclpy.subscription import Subscription

from streaming_net_ros.nodes.host import Host

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container
    from streaming_net_ros.nodes.sending import StateSender

_LEASE_S = 25.0  # no ghost stays longer: Fast DDS's own lease is 20 s


class Peers:
    """What one container knows of the other processes of its network."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def are_matched(
        self,
        node: Node,
        source: str,
        sender: StateSender,
        responses: Sequence[Publisher] = (),
    ) -> bool:
        """True if a node's states reach all groups of other processes, and all who listen.

        Args:
            node: the node of ``source``.
            source: the group or input whose states they are.
            sender: of its states; each hearer has a line to it, or a subscription.
            responses: its publishers of responses.
        """
        hearers = self._container.hearers_outside(source)
        infos = node.get_subscriptions_info_by_topic(sender.states.topic_name)
        heard_by = sender.hearers | {info.node_name for info in infos}
        return set(hearers) <= heard_by and all(
            publisher.get_subscription_count() >= _compatible_readers(node, publisher)
            for publisher in (sender.states, *responses)
        )

    def twins(self) -> list[str]:
        """Names of our members that some other process uses in the same namespace."""
        container = self._container
        mine = set(container.member_names)
        counted = Counter(
            name
            for name, namespace in container.node.get_node_names_and_namespaces()
            if namespace == container.node.get_namespace() and name in mine
        )
        here = {member.get_name() for member in container.members}
        return sorted(name for name, count in counted.items() if count > (name in here))


def who_lives(
    host: Host, node: Node, names: Callable[[], list[str]], lease_s: float = _LEASE_S
) -> list[str]:
    """Of the nodes that the graph shows, those whose process lives.

    Each is asked for its parameters. A ghost never answers, and leaves the graph when its lease
    ends; who neither answers nor leaves hangs or is busy, but lives.

    Args:
        host: serves callbacks meanwhile.
        node: asks; in the namespace of those who are asked.
        names: the nodes in question, as the graph shows them now.
        lease_s: no ghost stays in the graph for longer.

    Returns:
        Who still stood in the graph when the first one answered, or when the lease was over.
    """
    clients: dict[str, Any] = {}
    answers: dict[str, Any] = {}

    def is_decided() -> bool:
        shown = names()
        for name in shown:
            if name not in clients:
                service = f"{node.get_namespace().rstrip('/')}/{name}/get_parameters"
                clients[name] = node.create_client(GetParameters, service)
            elif name not in answers and clients[name].service_is_ready():
                answers[name] = clients[name].call_async(GetParameters.Request())
        return not shown or any(answers[name].done() for name in shown if name in answers)

    host.spin(is_decided, lease_s)
    for client in clients.values():
        node.destroy_client(client)
    return names()


def _compatible_readers(node: Node, publisher: Publisher) -> int:
    """Subscriptions anywhere that this publisher can match; others would be waited for in vain."""
    return sum(
        qos_check_compatible(publisher.qos_profile, info.qos_profile)[0] != QoSCompatibility.ERROR
        for info in node.get_subscriptions_info_by_topic(publisher.topic_name)
    )


def publishers_of(node: Node, subscription: Subscription) -> int:
    """Matched publishers of a subscription (older rclpy: discovered ones)."""
    if hasattr(subscription, "get_publisher_count"):
        return int(subscription.get_publisher_count())
    return int(node.count_publishers(subscription.topic_name))
