"""A small world to drive in: a track, a camera and a car, deterministic from a seed.

The source of the training and demo recordings, and of closed-loop tests, without a robot. Imports
numpy, OpenCV and ``errors`` only; neither torch nor rclpy. Its ROS node lives in ``nodes``.

Recordings: ``simulate_drive``. Closed loop: ``Simulation(World.from_seed(seed))`` with
``observe``, ``expert_command`` and ``advance``. Axes of REP 103; steering in [-1, 1], left
positive; throttle in [0, 1]; pictures are (height, width, 3), uint8, RGB.
"""

from streaming_net_ros.simulation.camera import Camera, Image
from streaming_net_ros.simulation.car import Car, CarState, Command
from streaming_net_ros.simulation.drive import (
    Disturbance,
    DriveFrame,
    DriveMoment,
    drive_moments,
    simulate_drive,
)
from streaming_net_ros.simulation.expert import Expert
from streaming_net_ros.simulation.ground import Ground, draw_ground
from streaming_net_ros.simulation.lens import LensNoise
from streaming_net_ros.simulation.panorama import Panorama, draw_panorama
from streaming_net_ros.simulation.track import Track, TrackPlace, random_track
from streaming_net_ros.simulation.world import Simulation, World

__all__ = [
    "Camera",
    "Car",
    "CarState",
    "Command",
    "Disturbance",
    "DriveFrame",
    "DriveMoment",
    "Expert",
    "Ground",
    "Image",
    "LensNoise",
    "Panorama",
    "Simulation",
    "Track",
    "TrackPlace",
    "World",
    "draw_ground",
    "draw_panorama",
    "drive_moments",
    "random_track",
    "simulate_drive",
]
