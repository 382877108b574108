"""The ROS nodes: frame source, layer group, container; and what feeds and records a run.

Callbacks and wiring over ``frames``, ``network`` and ``wire``; no mathematics. rclpy is imported
by the modules of this room only. Threads: the executor thread runs callbacks, which store and
return; the container's workers run layers and publish.
"""
