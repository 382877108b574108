"""Lines: every hearer gets every packet in order, and nobody can stop anybody."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import open_files, wait_until
from streaming_net_ros.errors import TransportError
from streaming_net_ros.wire import Lines, ask, line_name

WAIT_S = 20  # for what must happen; nothing waits so long where the laws hold
_numbers = count()


def a_name():
    return line_name(0, f"test/{os.getpid()}", f"node{next(_numbers)}")


def lend():
    """A descriptor as good as any."""
    return os.open(os.devnull, os.O_RDONLY)


def fail(error):
    raise error


@contextmanager
def lines(on_failure=fail, threads=1):
    some = Lines(on_failure, threads)
    try:
        yield some
    finally:
        some.close()


class Hearer:
    """Hears a sender by lines of its own, as another process does."""

    def __init__(self, served_by, name, hearer="ear"):
        self.packets, self.ended = queue.Queue(), threading.Event()
        self.line, descriptor = ask(name, hearer)
        os.close(descriptor)
        served_by.hear(
            self.line, lambda packet, serve_on: self.packets.put(packet), self.ended.set
        )

    def get(self):
        return self.packets.get(timeout=WAIT_S)


def wait_for(outlet, hearers):
    """A hearer may know of its line before the sender does."""
    assert wait_until(lambda: outlet.hearers == set(hearers)), outlet.hearers


def test_each_of_several_hearers_gets_every_packet_in_order():
    name = a_name()
    with lines() as ours, lines() as theirs:
        outlet = ours.offer(name, lend)
        hearers = [Hearer(theirs, name, f"ear{n}") for n in range(3)]
        wait_for(outlet, ["ear0", "ear1", "ear2"])
        sent = [str(n).encode() for n in range(100)]
        for packet in sent:
            outlet.send(packet)
        for hearer in hearers:
            assert [hearer.get() for _ in sent] == sent
        assert outlet.is_heard and outlet.dropped == 0


def test_one_that_does_not_read_misses_packets_and_stops_nobody():
    name = a_name()
    with lines() as ours, lines() as theirs:
        outlet = ours.offer(name, lend)
        deaf, descriptor = ask(name, "deaf")
        os.close(descriptor)
        hearer = Hearer(theirs, name)
        wait_for(outlet, ["deaf", "ear"])
        sent = [b"%d" % n for n in range(1000)]
        for packet in sent:
            outlet.send(packet)
            assert hearer.get() == packet
        assert outlet.dropped > 0
        deaf.setblocking(False)
        heard = []
        with pytest.raises(BlockingIOError):
            while True:
                heard.append(deaf.recv(100))
        assert heard == sent[: len(heard)] and len(heard) + outlet.dropped == len(sent)
        deaf.close()


def test_one_that_connects_and_says_nothing_stops_nobody():
    """What stops the serving thread stops the states that this process hears."""
    name, mute = a_name(), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with lines() as ours, lines() as theirs, mute:
        outlet = ours.offer(name, lend)
        mute.connect(name)
        served = threading.Event()
        ours._serve(is_ready := a_ready_socket(), lambda serve_on: served.set())
        hearer = Hearer(theirs, name)
        # All of this happened while it said nothing, and it is still there to be told no.
        wait_for(outlet, ["ear"])
        outlet.send(b"1")
        assert hearer.get() == b"1" and served.is_set()
        mute.send(b"late")
        wait_for(outlet, ["ear", "late"])
        ours.hang_up(is_ready)


def a_ready_socket():
    """A socket that is ready to be read."""
    ours, theirs = socket.socketpair()
    theirs.send(b"!")
    theirs.close()
    return ours


def test_ones_that_connect_and_go_at_once_stop_nobody():
    name = a_name()
    with lines() as ours, lines() as theirs:
        outlet = ours.offer(name, lend)
        before = open_files()
        for said in (b"", b"gone"):
            for _ in range(20):
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
                    line.connect(name)
                    if said:
                        line.send(said)
        hearer = Hearer(theirs, name)
        wait_for(outlet, ["ear"])
        outlet.send(b"1")
        assert hearer.get() == b"1"
        assert wait_until(lambda: open_files() == before + 2)  # its two ends


# Offers a line under the name it is given, and waits to be killed.
OFFER = """
import os, sys
from streaming_net_ros.wire.lines import Lines
lines = Lines(print)
outlet = lines.offer(chr(0) + sys.argv[1], lambda: os.open(os.devnull, os.O_RDONLY))
print('up', flush=True)
sys.stdin.readline()
"""


@contextmanager
def another_process(name):
    child = subprocess.Popen(
        [sys.executable, "-c", OFFER, name[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"up\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def test_a_name_has_one_owner_and_the_end_of_its_process_is_told_at_once():
    name = a_name()
    with another_process(name) as child, lines() as theirs:
        with pytest.raises(TransportError, match=r"in use.*another copy"):
            theirs.offer(name, lend)
        hearer = Hearer(theirs, name)
        child.send_signal(signal.SIGKILL)
        assert hearer.ended.wait(WAIT_S)
        child.wait()
        assert ask(name, "ear") is None
        theirs.withdraw(theirs.offer(name, lend))  # free again


def test_a_sender_that_withdraws_tells_its_hearers():
    name = a_name()
    with lines() as ours, lines() as theirs:
        outlet = ours.offer(name, lend)
        hearer = Hearer(theirs, name)
        wait_for(outlet, ["ear"])
        ours.withdraw(outlet)
        assert hearer.ended.wait(WAIT_S)
        assert not outlet.is_heard and ask(name, "ear") is None
        ours.withdraw(outlet)  # nothing is left to do


def test_one_who_asks_while_the_sender_withdraws_is_told_too():
    name = a_name()
    with lines() as ours:

        def lend_and_withdraw():
            withdrawing = threading.Thread(target=ours.withdraw, args=(outlet,))
            withdrawing.start()
            withdrawing.join()
            return lend()

        outlet = ours.offer(name, lend_and_withdraw)
        given = ask(name, "ear")
        if given is not None:
            line, descriptor = given
            os.close(descriptor)
            assert line.recv(100) == b""
            line.close()
        assert not outlet.is_heard
        assert ask(name, "ear") is None


def test_a_hearer_that_hangs_up_is_forgotten_and_hears_no_more():
    name = a_name()
    with lines() as ours, lines() as theirs:
        outlet = ours.offer(name, lend)
        going, staying = Hearer(theirs, name, "going"), Hearer(theirs, name, "staying")
        wait_for(outlet, ["going", "staying"])
        theirs.hang_up(going.line)
        wait_for(outlet, ["staying"])
        outlet.send(b"1")
        assert staying.get() == b"1"
        assert going.packets.empty() and not going.ended.is_set()


def test_nobody_is_there():
    assert ask(a_name(), "ear") is None


def test_why_nothing_can_be_lent_reaches_whoever_asks():
    name, tries = a_name(), []

    def refuse():
        tries.append(None)
        raise TransportError("no memory " + "at all " * 500, remedy="buy some")

    with lines() as ours:
        outlet = ours.offer(name, refuse)
        for _ in range(2):
            with pytest.raises(TransportError, match="no memory at all"):
                ask(name, "ear")
        assert len(tries) == 2 and not outlet.is_heard


def test_an_error_in_what_is_called_back_is_told_and_the_others_go_on():
    name, failures = a_name(), queue.Queue()
    with lines() as ours, lines(failures.put) as theirs:
        outlet = ours.offer(name, lend)
        line, descriptor = ask(name, "broken")
        os.close(descriptor)

        def stumble(packet, serve_on):
            raise RuntimeError(packet)

        theirs.hear(line, stumble, lambda: None)
        hearer = Hearer(theirs, name)
        wait_for(outlet, ["broken", "ear"])
        for packet in (b"1", b"2"):
            outlet.send(packet)
            assert hearer.get() == packet
            assert "1" in str(failures.get(timeout=WAIT_S)) or packet == b"2"


def test_an_error_while_lending_is_told_and_ends_that_line_alone():
    name, other, failures = a_name(), a_name(), queue.Queue()
    with lines(failures.put) as ours:
        ours.offer(name, lambda: 1 // 0)
        ours.offer(other, lend)
        assert ask(name, "ear") is None
        assert isinstance(failures.get(timeout=WAIT_S), ZeroDivisionError)
        line, descriptor = ask(other, "ear")
        line.close()
        os.close(descriptor)


def test_one_who_may_open_no_more_files_is_told_so(monkeypatch):
    """Linux then hands over the bytes without the descriptor."""
    name = a_name()
    receive = socket.recv_fds

    def without(*args):
        text, descriptors, flags, address = receive(*args)
        for descriptor in descriptors:
            os.close(descriptor)
        return text, [], flags, address

    with lines() as ours:
        ours.offer(name, lend)
        monkeypatch.setattr(socket, "recv_fds", without)
        with pytest.raises(TransportError, match="ulimit -n"):
            ask(name, "ear")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(st.integers(0, 232), texts, texts, texts)
def test_names_of_any_length_and_characters_serve(domain_id, namespace, node, hearer):
    name = line_name(domain_id, namespace, node)
    with lines() as ours:
        outlet = ours.offer(name, lend)
        hearer = hearer[:200] or "ear"
        line, descriptor = ask(name, hearer)
        wait_for(outlet, [hearer])
        os.close(descriptor)
        line.close()


def test_a_name_is_of_one_domain_namespace_and_node():
    given = [(0, "robot", "stem"), (1, "robot", "stem"), (0, "robo", "stem"), (0, "robot", "head")]
    assert len({line_name(*facts) for facts in given}) == len(given)
    assert line_name(0, "/robot/", "stem") == line_name(0, "robot", "stem")


def test_a_line_is_served_by_one_thread_at_a_time_until_it_is_served_on():
    name, began, goes_on = a_name(), queue.Queue(), threading.Event()
    with lines() as ours, lines(threads=2) as theirs:
        outlet = ours.offer(name, lend)
        line, descriptor = ask(name, "ear")
        os.close(descriptor)

        def take(packet, serve_on):
            began.put((packet, threading.current_thread()))
            if packet == b"2":
                serve_on()
            if packet != b"3":
                goes_on.wait(WAIT_S)
                goes_on.clear()

        theirs.hear(line, take, lambda: None)
        other = Hearer(theirs, name, "other")
        wait_for(outlet, ["ear", "other"])
        for packet in (b"1", b"2", b"3"):
            outlet.send(packet)
            # While one thread is at a packet of the one line, the other one hears the others.
            assert other.get() == packet
        assert began.get(timeout=WAIT_S)[0] == b"1" and began.empty()
        goes_on.set()
        second = began.get(timeout=WAIT_S)
        third = began.get(timeout=WAIT_S)  # though the second is still at it
        assert (second[0], third[0]) == (b"2", b"3") and second[1] is not third[1]
        goes_on.set()


def test_close_ends_the_thread_and_closes_every_descriptor():
    opened, threads = open_files(), threading.active_count()
    ours, theirs, name = Lines(fail), Lines(fail), a_name()
    outlet = ours.offer(name, lend)
    hearer = Hearer(theirs, name)
    wait_for(outlet, ["ear"])
    ours.close()
    assert hearer.ended.wait(WAIT_S) and not outlet.is_heard
    theirs.close()
    for some in (ours, theirs):
        some.close()  # once more does nothing
    ours.withdraw(outlet)
    theirs.hang_up(hearer.line)
    assert open_files() == opened
    assert threading.active_count() == threads


def test_lines_that_were_never_used_close_too():
    opened = open_files()
    Lines(fail).close()
    assert open_files() == opened
