"""Streaming rollouts of neural networks as ROS 2 nodes.

Importing the package loads neither torch nor rclpy; import the room you need
(``streaming_net_ros.theory``, ``.frames``, ``.network``, ``.wire``, ``.nodes``).
"""

__version__ = "0.3.0"
