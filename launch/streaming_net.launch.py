"""Start a network: every group as its own process, composed in one, or this host's share of it.

ros2 launch streaming_net_ros streaming_net.launch.py network:=pilot image_topic:=/camera/image_raw
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction

from streaming_net_ros.launching import launch_processes

ARGUMENTS = {
    "network": ("pilot", "network file, or the name of a shipped one"),
    "weights": ("", "weights file (safetensors); empty: the one that the network file names"),
    "namespace": ("", "namespace of the network; empty: its name"),
    "image_topic": ("", "camera topic; .../compressed carries compressed images; empty: image"),
    "groups": ("", "members to run here, comma-separated (frame_source, GROUP, ...); empty: all"),
    "composed": ("false", "all members in one process"),
    "mode": ("realtime", "realtime or lockstep"),
    "rollout": ("", "streaming, sequential, or a rollout table's path; empty: the file's"),
    "rate_hz": ("", "frames per second; empty: the network file's"),
    "tuning": ("", "tuning file of streaming-net tune; empty: none"),
    "device": ("cpu", "torch device: cpu, cuda, cuda:0"),
    "use_sim_time": ("false", "follow /clock (ros2 bag play --clock)"),
    "params_file": ("", "YAML file with further parameters of the containers"),
    "view": ("false", "serve a live page of the network; its address is printed"),
    "view_arguments": ("", "further arguments of streaming-net view: --host 0.0.0.0 --port 8081"),
    "log_level": ("info", "debug, info, warn, error, fatal"),
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument(name, default_value=default, description=text)
            for name, (default, text) in ARGUMENTS.items()
        ]
        + [OpaqueFunction(function=launch_processes)]
    )
