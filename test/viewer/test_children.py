"""A child that hears nothing and asks nobody ends when its parent is killed."""

import ctypes
import os
import select
import subprocess
import sys

import pytest

PARENT = """
import signal, subprocess, sys, time
from streaming_net_ros.viewer.children import ending_with_parent
deaf = "import time; print(1, flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE,
                         start_new_session=True, preexec_fn=ending_with_parent())
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "prctl"), reason="not Linux: no prctl")
def test_a_child_ends_when_its_parent_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    child = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    assert select.select([child], [], [], 20)[0]  # a pidfd can be read once its process has ended
    os.close(child)
