"""Data sets: what others have gathered and labelled, and a robot's own bags, read into ``Clips``.

Owns the formats, the layouts and the messages for who lacks the files. Knows OpenCV, ``wire`` (how
a picture is fitted), ``evaluation`` (bags) and ``clips``; no trainer. Nothing is downloaded,
unpickled or cached. Imported by ``cli`` and by whoever trains.

Of pictures, ``sources`` finds and opens files, ``headers`` and ``pictures`` decode them, and
``subset`` chooses a few; each data set has a module of its own (``tracks``, with ``annotations``,
is GTSRB), and ``named`` knows them all. Bags are ``recordings``'.
"""

from streaming_net_ros.training.datasets.cifar import read_cifar10
from streaming_net_ros.training.datasets.digits import read_digits
from streaming_net_ros.training.datasets.folder import read_image_folder
from streaming_net_ros.training.datasets.mnist import read_mnist
from streaming_net_ros.training.datasets.named import KINDS, read_dataset
from streaming_net_ros.training.datasets.pictures import PictureForm, Progress, no_progress
from streaming_net_ros.training.datasets.sources import CLASS_TARGET, Part
from streaming_net_ros.training.datasets.tracks import read_gtsrb, split_tracks

__all__ = [
    "CLASS_TARGET",
    "KINDS",
    "Part",
    "PictureForm",
    "Progress",
    "no_progress",
    "read_cifar10",
    "read_dataset",
    "read_digits",
    "read_gtsrb",
    "read_image_folder",
    "read_mnist",
    "split_tracks",
]
