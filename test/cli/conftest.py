"""Verbs are called in this process: what a process of their own costs is loading torch and ROS."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture(autouse=True)
def threads_as_before():
    """A verb may take one thread; other tests in this process keep theirs."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def streaming_net(capfd):
    """Calls a verb: exit code, and what was told on its two descriptors, rclpy's log included."""
    from streaming_net_ros.cli.app import main

    def call(*arguments):
        capfd.readouterr()
        code = main([*map(str, arguments)])
        told = capfd.readouterr()
        assert "Traceback" not in told.err, told.err
        return SimpleNamespace(code=code, out=told.out, err=told.err)

    return call
