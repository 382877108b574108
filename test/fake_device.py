"""A stand-in for the memory of a GPU: memory of the host, which processes share by its handle."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

from streaming_net_ros.errors import TransportError
from streaming_net_ros.wire import DeviceMemory

_HANDLE = struct.Struct("=qqq40x")


class FakeDevice(DeviceMemory):
    """Keeps "device memory" in memfds; an address is one of the host.

    Attributes:
        opened: how often other processes' memory was opened less how often it was let go of.
        allocated: how often new memory was made.
        on_copy: called before each copy.
        broken: the calls that fail, by name.
    """

    def __init__(self, uuid="GPU-a"):
        super().__init__(uuid)
        self.opened = self.allocated = 0
        self.on_copy = lambda: None
        self.broken = set()
        self._files = {}

    def _check(self, name):
        if name in self.broken:
            raise TransportError(f"no memory of the GPU can be shared: {name}")

    def allocate(self, size):
        self._check("allocate")
        self.allocated += 1
        descriptor = os.memfd_create("fake_device", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, size)
        address = self._map(descriptor, size)
        self._files[address] = (descriptor, size)
        return address

    def handle(self, address):
        self._check("handle")
        return _HANDLE.pack(os.getpid(), *self._files[address])

    def open(self, handle):
        self._check("open")
        pid, number, size = _HANDLE.unpack(handle)
        descriptor = os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR | os.O_CLOEXEC)
        try:
            address = self._map(descriptor, size)
        finally:
            os.close(descriptor)
        self.opened += 1
        return address

    def close(self, address):
        self.opened -= 1

    def copy(self, target, source, size):
        self._check("copy")
        self.on_copy()
        ctypes.memmove(target, source, size)

    def _map(self, descriptor, size):
        memory = (ctypes.c_char * size).from_buffer(mmap.mmap(descriptor, size))
        address = ctypes.addressof(memory)
        self.__dict__.setdefault("_maps", []).append(memory)  # they stay mapped
        return address
