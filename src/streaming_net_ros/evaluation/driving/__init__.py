"""Closed-loop driving in virtual time: a network drives the simulated car; computing takes time.

``closed_loop`` drives, ``score`` sums up, ``speeds`` finds the largest speed at which a track is
kept. No rclpy. Imported by the verb ``drive``.
"""
