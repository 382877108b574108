"""Ctrl-C asks before it ends, and bars tell how far things are."""

from __future__ import annotations

import io
import signal
import threading

import pytest
from rich.console import Console

from streaming_net_ros.cli.progress import progress_bar, stop_on_interrupt


@pytest.fixture(autouse=True)
def handler_before():
    """A handler that raises, as Python's own does; it is put back whatever a test does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def interrupt():
    """What Ctrl-C sends, to this process; the handler has run when this returns."""
    signal.raise_signal(signal.SIGINT)


class TestStopOnInterrupt:
    def test_nobody_has_asked_before_ctrl_c(self):
        with stop_on_interrupt() as should_stop:
            assert not should_stop()

    def test_the_first_ctrl_c_asks_and_goes_on_asking(self):
        with stop_on_interrupt() as should_stop:
            interrupt()
            assert should_stop()
            assert should_stop()

    def test_the_second_ctrl_c_ends_at_once(self):
        with stop_on_interrupt() as should_stop:
            interrupt()
            with pytest.raises(KeyboardInterrupt):
                interrupt()
            assert should_stop()

    def test_afterwards_ctrl_c_does_what_it_did_before(self, handler_before):
        with stop_on_interrupt():
            assert signal.getsignal(signal.SIGINT) is not handler_before
        assert signal.getsignal(signal.SIGINT) is handler_before
        with pytest.raises(KeyboardInterrupt):
            interrupt()

    def test_so_it_does_after_an_error_inside(self, handler_before):
        with pytest.raises(ZeroDivisionError), stop_on_interrupt():
            raise ZeroDivisionError
        assert signal.getsignal(signal.SIGINT) is handler_before

    def test_what_was_asked_of_one_is_not_asked_of_the_next(self):
        with stop_on_interrupt() as first:
            interrupt()
        with stop_on_interrupt() as second:
            assert first() and not second()

    def test_in_another_thread_nothing_is_changed_and_nobody_asks(self, handler_before):
        """Only the main thread may have handlers: a run beside it is never asked."""
        seen, entered, leave = [], threading.Event(), threading.Event()

        def work():
            with stop_on_interrupt() as should_stop:
                entered.set()
                leave.wait(10)
                seen.append(should_stop())

        thread = threading.Thread(target=work)
        thread.start()
        assert entered.wait(10)
        assert signal.getsignal(signal.SIGINT) is handler_before
        with stop_on_interrupt() as should_stop:
            interrupt()
            assert should_stop()
            leave.set()
            thread.join(10)
        assert seen == [False]


class TestProgressBar:
    def told(self, *, is_terminal):
        """What one bar writes: while it is there, and in all."""
        out = io.StringIO()
        console = Console(file=out, force_terminal=is_terminal, width=100, legacy_windows=False)
        with progress_bar("training", "steps", console) as advance:
            advance(3, 12, "loss 0.250")
        return out.getvalue()

    def test_it_tells_what_is_done_how_far_it_is_and_a_note(self):
        last = self.told(is_terminal=True)
        for word in ("training", " 3/12", "steps loss 0.250"):
            assert word in last

    def test_without_a_terminal_no_bar_is_left(self):
        assert self.told(is_terminal=False).strip() == ""

    def test_by_itself_it_writes_nothing_to_stdout(self, capsys):
        with progress_bar("reading", "bags") as advance:
            advance(1, 2, "")
        assert capsys.readouterr().out == ""
