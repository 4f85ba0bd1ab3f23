"""`make demo`: a server, real requests, chains that run, the dashboard."""

import errno
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime

from fastapi_chain.demo import Printer
from fastapi_chain.events import RunFinished, TaskCancelled


def test_the_demo_ends_by_itself():
    """Without a terminal it sends its orders, tells of each run, finds them on the dashboard and ends well."""
    command = [sys.executable, "-m", "fastapi_chain.demo"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=True)
    told = re.sub(r"127\.0\.0\.1:\d+", "HOST", done.stdout)
    assert done.stderr == ""
    assert told.startswith("Serving on http://HOST\n")
    assert sorted(re.findall(r"the run has (\w+)", told)) == ["failed", "succeeded", "succeeded"]
    assert re.findall(r"POST /orders '(\w+)' -> 202", told) == ["book", "flaky", "unpaid"]
    assert "charge     failed: ConnectionError: the bank did not answer; next try in" in told
    assert "receipt    skipped, upstream_failed: charge" in told
    assert "The dashboard shows 3 runs: http://HOST/chains/ui/\n" in told


def test_the_demo_says_what_it_needs(tmp_path):
    """Without uvicorn it says in one line what to install."""
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError(name='uvicorn')\n")
    command = [
        sys.executable,
        "-c",
        "import sys; sys.path.insert(0, sys.argv[1]); import fastapi_chain.demo as d; sys.exit(d.main([]))",
    ]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, "The demo needs uvicorn: pip install 'fastapi-chain[standard]'\n")


def test_the_demo_serves_on_in_a_terminal():
    """At the port that it was given, until Ctrl-C, and ends well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    screen, terminal = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "fastapi_chain.demo", str(port)], stdout=terminal, stdin=terminal)
    os.close(terminal)
    told = b""
    while b"Ctrl-C ends." not in told:
        told += os.read(screen, 4096)
    assert f"Serving on http://127.0.0.1:{port}\r\n" in told.decode()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    os.close(screen)


def test_the_demo_at_a_port_that_is_taken():
    """It ends, and says why."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "fastapi_chain.demo", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert done.stderr.splitlines() == [f"ERROR:    [Errno {errno.EADDRINUSE}] {os.strerror(errno.EADDRINUSE)}"]


def test_the_printer_of_the_demo(capsys):
    """It prints what a reader wants to know, and knows when the last run has ended."""
    said = {"run_id": "6f2c1d", "chain": "place", "seq": 1, "at": datetime.now(UTC)}
    printer = Printer(runs=1)
    printer(TaskCancelled(**said, task="charge", reason="run_cancelled"))
    assert (capsys.readouterr().out, printer.finished.is_set()) == ("", False)
    printer(RunFinished(**said, state="succeeded", reason=None))
    assert (capsys.readouterr().out, printer.finished.is_set()) == ("  6f2c  the run has succeeded\n", True)
