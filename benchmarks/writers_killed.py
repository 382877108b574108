"""10,000 states through shared memory, the writer killed every few hundred: is one ever torn?

    python benchmarks/writers_killed.py [--frames 10000] [--kib 1024] [--every 300]

A child process writes states as fast as the reader takes them, every number of a state the same.
It is killed (SIGKILL) at a random moment, in the middle of a copy as likely as not, and started
again. The reader checks every number of every state that it is given, and at the end whether the
memory of all those rings is gone.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from report import Report, arguments, finish

from streaming_net_ros.cli.progress import progress_bar
from streaming_net_ros.frames import Origin
from streaming_net_ros.wire import (
    Lines,
    Notice,
    RingReader,
    RingWriter,
    ask,
    pack_notice,
    read_notice,
)

SLOTS = 4


def write(name: str, numbers: int) -> None:
    """The child: write until killed, a few states ahead of what a slow reader could take."""
    lines, ring = Lines(_fail), RingWriter(SLOTS, numbers * 4)
    outlet = lines.offer("\0" + name, ring.descriptor)
    value = 0
    while not outlet.is_heard:
        time.sleep(0.001)
    while True:
        value = (value + 1) % 65536
        number = ring.write(np.full(numbers, value, np.float32))
        outlet.send(pack_notice(Notice(number, value, Origin(0, 0), None)))


def _fail(error: BaseException) -> None:
    sys.exit(f"the writer failed: {error}")


def start(name: str, numbers: int) -> subprocess.Popen[bytes]:
    """A writer."""
    return subprocess.Popen([sys.executable, __file__, "--writer", name, str(numbers)])


def resident_mib() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def shared_mib() -> float:
    """Shared memory of the whole machine."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Shmem:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Reader:
    """Reads from one writer after the other."""

    def __init__(self, numbers: int) -> None:
        self.whole = self.torn = self.overwritten = self.writers = 0
        self._into = np.empty(numbers, np.float32)

    def read_until(self, name: str, states: int, victim: subprocess.Popen[bytes]) -> None:
        """Take so many states, kill the writer, and take what it still left behind."""
        while (given := ask("\0" + name, "reader")) is None:
            time.sleep(0.005)
        line, descriptor = given
        assert descriptor is not None
        ring = RingReader(descriptor, self._into.nbytes)
        os.close(descriptor)
        end = self.whole + states
        last = 0
        while packet := line.recv(1000):
            notice = read_notice(packet)
            last = notice.number
            self._take(ring, notice.number, notice.stamp_ns)
            if self.whole == end:
                victim.send_signal(signal.SIGKILL)
                end = -1
        for number in range(max(1, last - SLOTS), last + SLOTS):  # what nobody told of as well
            self._take(ring, number, None)
        line.close()
        victim.wait()
        self.writers += 1

    def _take(self, ring: RingReader, number: int, value: int | None) -> None:
        if not ring.read(number, self._into):
            self.overwritten += 1
            return
        first = self._into[0] if value is None else value
        is_whole = bool((self._into == first).all())
        self.whole += is_whole
        self.torn += not is_whole


def main() -> None:
    if sys.argv[1:2] == ["--writer"]:
        write(sys.argv[2], int(sys.argv[3]))
    parser = arguments(__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--kib", type=int, default=1024)
    parser.add_argument("--every", type=int, default=300, help="states between two kills, about")
    given = parser.parse_args()
    drawn = random.Random(0)
    numbers = given.kib * 256
    reader = Reader(numbers)
    before_mib, sizes = shared_mib(), []
    with progress_bar("writers are killed", "states") as advance:
        while reader.whole < given.frames:
            name = f"streaming_net_ros.killed.{os.getpid()}.{reader.writers}"
            child = start(name, numbers)
            reader.read_until(name, drawn.randint(1, 2 * given.every), child)
            sizes.append(resident_mib())
            advance(reader.whole, given.frames, f"{reader.writers} writers")
    settled = sizes[len(sizes) // 5]
    row: dict[str, Any] = {
        "state_kib": given.kib,
        "states": reader.whole,
        "writers_killed": reader.writers,
        "torn": reader.torn,
        "not_used": reader.overwritten,
        "reader_grew_mib": sizes[-1] - settled,
        "shared_memory_left_mib": shared_mib() - before_mib,
    }
    notes = ("not used: overwritten before they were read, or never finished; found and refused",)
    finish(Report("writers_killed", "Is a torn state ever used?", [row], notes), given)
    if reader.torn:
        sys.exit("a torn state was used")


if __name__ == "__main__":
    main()
