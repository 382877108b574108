from __future__ import annotations

import pytest
from rosbags.typesys import Stores, get_typestore

from streaming_net_ros.errors import StateError
from streaming_net_ros.wire import read_fields, read_stamp_ns, write_field, write_stamp_ns

TYPES = get_typestore(Stores.ROS2_KILTED).types
Time = TYPES["builtin_interfaces/msg/Time"]


def twist():
    vector, header = TYPES["geometry_msgs/msg/Vector3"], TYPES["std_msgs/msg/Header"]
    return TYPES["geometry_msgs/msg/TwistStamped"](
        header(Time(1, 2), "base"),
        TYPES["geometry_msgs/msg/Twist"](vector(1, 2, 3), vector(4, 5, 6)),
    )


def test_fields_are_read_by_their_dotted_names():
    assert read_fields(twist(), ["twist.angular.z", "twist.linear.x"], "/cmd") == [6.0, 1.0]


def test_what_is_written_is_read():
    stamp = type("Stamp", (), {"sec": 0, "nanosec": 0})()
    write_stamp_ns(stamp, -1)
    assert read_stamp_ns(stamp) == -1 and 0 <= stamp.nanosec < 10**9


@pytest.mark.parametrize(
    "field, hint",
    [
        ("twist.angular.w", "one of x, y, z"),
        ("twist.angular", "not a number"),
        ("__class__", "one of header, twist"),
        ("twist.angular.z[0]", "no such element"),
        ("", "one of header, twist"),
        ("twist..z", "one of linear, angular"),
    ],
)
def test_a_field_that_is_not_there_is_told_with_those_that_are(field, hint):
    with pytest.raises(StateError, match="/cmd") as error:
        read_fields(twist(), [field], "/cmd")
    assert hint in str(error.value)


@pytest.mark.ros
def test_rclpy_messages_are_read_alike():
    from geometry_msgs.msg import TwistStamped
    from sensor_msgs.msg import JointState

    message = TwistStamped()
    write_field(message, "twist.angular.z", 0.5)
    assert read_fields(message, ["twist.angular.z"], "/cmd") == [0.5]
    assert read_fields(JointState(position=[1.0, 2.0]), ["position[1]"], "/joints") == [2.0]
    with pytest.raises(StateError, match="no such element"):
        read_fields(JointState(position=[1.0]), ["position[1]"], "/joints")
