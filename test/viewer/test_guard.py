"""Who may see and who may change: the token, sessions, the host's names, others' requests."""

from __future__ import annotations

import asyncio

import pytest

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.viewer.files import below, found_below
from streaming_net_ros.viewer.guard import Gate, Guard


def test_the_token_opens_a_session_and_nothing_else_does():
    guard = Guard("secret")
    session = guard.admit("secret")
    assert session is not None and guard.may_control(session)
    assert [guard.admit(wrong) for wrong in ("", "Secret", "secret ", "s\u00e9cret")] == [None] * 4
    assert not any(guard.may_control(one) for one in (None, "", "secret", session + "x"))


def test_a_token_is_made_where_none_is_given_and_no_two_are_alike():
    tokens = {Guard().token for _ in range(20)}
    assert len(tokens) == 20 and all(len(token) >= 16 for token in tokens)


def test_read_only_means_nobody():
    guard = Guard("secret", read_only=True)
    assert guard.admit("secret") is None and not guard.may_control("secret")


@pytest.mark.parametrize(
    "host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "192.168.0.7", "robot:80"]
)
def test_our_own_names_and_plain_addresses_are_served(host):
    assert Guard(host="robot").refusal({"host": host}) == ""


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "[", "a b"])
def test_a_name_that_is_not_ours_is_refused(host):
    assert Guard().refusal({"host": host}) == "unknown host"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9", "http://[", "file://"]
)
def test_what_another_page_asks_for_is_refused(origin):
    assert Guard().refusal({"host": "127.0.0.1:8080", "origin": origin}) == "another origin"
    own = {"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:8080"}
    assert Guard().refusal(own) == ""


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_refused_request_never_reaches_the_page(kind):
    async def app(scope, receive, send):
        raise AssertionError("reached")

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": kind, "headers": [(b"host", b"evil.example")]}
    asyncio.run(Gate(app, Guard())(scope, None, send))
    assert sent[0].get("status") == 403 or sent[0]["type"] == "websocket.close"


def test_no_other_page_may_frame_this_one():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "headers": [(b"host", b"localhost")]}
    asyncio.run(Gate(app, Guard())(scope, None, send))
    assert dict(sent[0]["headers"])[b"x-frame-options"] == b"DENY"


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc/passwd", "a/../../x", "link/x", "a\0b"])
def test_no_file_outside_the_folder_can_be_named(tmp_path, name):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ParameterError):
        below(root, name)


def test_weights_are_listed_below_the_folder_alone(tmp_path):
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (tmp_path / "out.safetensors").touch()
    (root / "deep" / "in.safetensors").touch()
    (root / "link.safetensors").symlink_to(tmp_path / "out.safetensors")
    assert found_below(root) == ["deep/in.safetensors"]
    assert below(root, "deep/in.safetensors") == (root / "deep" / "in.safetensors").resolve()
