"""A factory for network files: a group that ends its process at the first state it is given."""

from __future__ import annotations

import os

from torch import nn


class Crashing(nn.Module):
    """Ends the process as a fault in native code would: no exception, nothing said."""

    def forward(self, *states):
        os._exit(7)


def group():
    return Crashing()
