"""`make demo`: a server, real requests, chains that run, the dashboard."""

import re
import subprocess
import sys


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
