"""Servers that are told to stop while clients follow runs."""

import importlib.util
import signal
import time

import pytest

UVICORN = ("uvicorn", "shop:app", "--port", "{port}")


@pytest.mark.parametrize(
    "arguments",
    [
        UVICORN,
        # Another loop and another parser.
        (*UVICORN, "--loop", "uvloop", "--http", "httptools"),
        ("granian", "--interface", "asgi", "--port", "{port}", "shop:app"),
    ],
    ids=["uvicorn", "uvloop", "granian"],
)
def test_open_streams_do_not_hold_a_server(serve, arguments):
    """They end at once; runs that do not end in time are cancelled and undone; the server goes within two seconds."""
    for module in ("uvloop", "httptools", "granian"):
        if module in arguments and importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    server = serve(*arguments)
    followers = []
    for _ in range(3):
        _, headers, _ = server.post("/waits")
        followers.append(server.follow(f"{headers['location']}/events"))
        assert followers[-1].read("run.snapshot") == "run.snapshot"
    server.signal()
    begun = time.monotonic()
    for follower in followers:
        follower.read()
    assert time.monotonic() - begun < 1
    assert server.seconds_until_it_ends() < 2
    assert sorted(server.told) == ["cancelled"] * 3 + ["undone"] * 3
    for follower in followers:
        follower.close()


def test_two_workers_end_as_quickly(serve):
    """Each hears of it from its parent; each says that it knows only its own runs."""
    server = serve(*UVICORN, "--workers", "2")
    follower = None
    while follower is None:
        _, headers, _ = server.post("/waits")
        if server.get(headers["location"])[0] == 200:
            try:
                follower = server.follow(f"{headers['location']}/events")
            except AssertionError:
                # Another worker has answered, who does not know it.
                continue
    follower.read("run.snapshot")
    server.signal()
    begun = time.monotonic()
    follower.read()
    assert time.monotonic() - begun < 1
    assert server.seconds_until_it_ends() < 3
    assert "2 workers serve this app, and each knows only its own runs" in server.log
    follower.close()


def test_ctrl_c_in_a_terminal_is_one_signal(serve):
    """A worker hears it from the terminal and from its parent; runs have their time all the same."""
    server = serve(*UVICORN, "--workers", "2", DRAIN="1.5")
    server.post("/waits")
    begun = time.monotonic()
    server.interrupt_all()
    assert server.seconds_until_it_ends() < 6
    assert time.monotonic() - begun > 1.5
    assert server.told == ["cancelled", "undone"]


def test_a_second_signal_is_respected(serve):
    """Nobody waits for `drain_timeout` then; what can be undone is undone."""
    server = serve(*UVICORN, DRAIN="60")
    server.post("/waits")
    server.signal(signal.SIGINT)
    while "Waiting for application shutdown" not in server.log:
        time.sleep(0.01)
    server.signal(signal.SIGINT)
    assert server.seconds_until_it_ends() < 2
    assert server.told == ["cancelled", "undone"]


def test_a_reload_is_not_held_by_a_stream(serve, tmp_path):
    """The new process serves within a few seconds."""
    (tmp_path / "watched.py").touch()
    server = serve(*UVICORN, "--reload", "--reload-dir", str(tmp_path))
    _, headers, before = server.post("/waits")
    follower = server.follow(f"{headers['location']}/events")
    follower.read("run.snapshot")
    (tmp_path / "watched.py").write_text("changed = True\n")
    follower.read()
    end = time.monotonic() + 20
    while True:
        try:
            _, _, after = server.post("/waits")
        except OSError:
            after = before
        if after["pid"] != before["pid"]:
            break
        assert time.monotonic() < end, server.log
        time.sleep(0.02)
    server.signal()
    assert server.seconds_until_it_ends() < 3
    follower.close()


def test_hypercorn_ends_as_well(serve):
    """Its workers hear no signal, so it waits for streams as long as it always waits (three seconds)."""
    if importlib.util.find_spec("hypercorn") is None:
        pytest.skip("hypercorn is not installed")
    server = serve("hypercorn", "shop:app", "--bind", "127.0.0.1:{port}")
    _, headers, _ = server.post("/waits")
    follower = server.follow(f"{headers['location']}/events")
    follower.read("run.snapshot")
    server.signal()
    assert server.seconds_until_it_ends() < 10
    assert server.told == ["cancelled", "undone"]
    follower.close()
