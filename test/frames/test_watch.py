from __future__ import annotations

from streaming_net_ros.frames import Watch


def test_who_is_silent_beyond_the_limit_is_named_with_the_time():
    watch = Watch(["camera", "stem"], limit_ns=100)
    watch.begin(0)
    watch.heard("stem", 90)
    watch.heard("stranger", 0)
    assert watch.silent(100) == {} and watch.silent(101) == {"camera": 101}
    watch.heard("camera", 150)
    assert watch.silent(200) == {"stem": 110}


def test_before_it_begins_nobody_is_missed():
    assert Watch(["camera"], 1).silent(10**9) == {}


def test_who_was_never_heard_has_longer_to_come_up():
    watch = Watch(["stem"], limit_ns=100, start_ns=1000)
    watch.begin(0)
    assert watch.silent(1000) == {} and watch.silent(1001) == {"stem": 101}
