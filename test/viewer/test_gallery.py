"""Pictures on request: what is refused leaves nothing behind."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: extra 'ros'")

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.viewer.gallery import Gallery
from streaming_net_ros.viewer.pictures import Options

SEEN = SimpleNamespace(values=np.zeros((2, 3, 4), np.float32), number=1, frame=7)


def test_pictures_that_are_refused_leave_nothing_behind():
    gallery = Gallery(SimpleNamespace(state=lambda node: SEEN))
    for channel in range(2, 50):
        with pytest.raises(ParameterError):
            gallery.picture("stem", Options("tiles", (channel,)))
    assert not gallery._drawing
    assert gallery.picture("stem", Options("tiles", (1,))).frame == 7
    assert len(gallery._drawing) == 1
