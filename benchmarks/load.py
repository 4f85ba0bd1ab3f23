"""The load: 500 clients that follow runs over HTTP, and 10,000 runs through a history of 1,000.

python -m benchmarks.load                   everything
python -m benchmarks.load --followers 50 --runs 500   less of it

It starts a real uvicorn and is its client, in a process each. Measured are P18, the time from an event to the last of
all followers of one run; whether each of the followers of as many runs hears of the end of its own; the memory of the
server while runs go through.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Self

from fastapi import FastAPI

from fastapi_chain import Progress, Registry, chain, install

HOST: Final = "127.0.0.1"
MOST: Final = 0.020
"""P18, in seconds."""
HISTORY: Final = int(os.environ.get("LOAD_HISTORY", "1000"))
"""How many finished runs the server keeps."""
FLAT: Final = 5.0
"""How many megabytes the server may grow once its history is full: the allocator's whims."""

# ----------------------------------------------------------------------------------------------------------------------
# The server
# ----------------------------------------------------------------------------------------------------------------------

registry = Registry("load")
app = FastAPI()
runtime = install(app, history=HISTORY)
app.include_router(runtime.router())
_gates: dict[str, asyncio.Event] = {}


@registry.task
async def ticks(name: str, progress: Progress) -> None:
    """Report progress each time the gate opens, and end when it is taken away."""
    n = 0
    while name in _gates:
        await _gates[name].wait()
        _gates[name].clear()
        n += 1
        progress(n, text=str(time.time()))
        if n > 20:
            del _gates[name]


@registry.task
async def first(n: int) -> int:
    return n


@registry.task(after=[first])
async def second(first: int) -> int:
    return first


@registry.task(after=[second])
async def third(second: int) -> list[int]:
    return [second] * 20


@app.post("/ticking", status_code=202)
@chain(ticks, name="ticking")
async def ticking(name: str) -> None:
    _gates[name] = asyncio.Event()


@app.post("/tick")
async def tick(name: str) -> None:
    _gates[name].set()


@app.post("/short", status_code=202)
@chain(third, name="short", tags={"n": "{n}"})
async def short(n: int) -> None: ...


@registry.task
async def gate() -> None:
    await _gates.setdefault("all", asyncio.Event()).wait()


@app.post("/gated", status_code=202)
@chain(gate, name="gated")
async def gated() -> None: ...


@app.post("/open")
async def open_() -> None:
    _gates.setdefault("all", asyncio.Event()).set()


@app.get("/memory")
async def memory() -> dict[str, float]:
    """Return the server's own memory, in megabytes."""
    with open("/proc/self/statm") as file:  # noqa: ASYNC230, PTH123 - a file of the kernel's
        pages = int(file.read().split()[1])
    return {"megabytes": pages * os.sysconf("SC_PAGE_SIZE") / 1e6, "open": runtime.history.open}


# ----------------------------------------------------------------------------------------------------------------------
# The client
# ----------------------------------------------------------------------------------------------------------------------


class Http:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(HOST, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def send(self, method: str, path: str) -> tuple[dict[str, str], bytes]:
        """Send a request; return headers and body."""
        self.writer.write(f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())
        headers = await self.head()
        return headers, await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def head(self) -> dict[str, str]:
        """Return the headers of the response that comes."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        assert lines[0].split()[1].startswith("20"), lines[0]
        return {name.lower(): text for name, _, text in (line.partition(": ") for line in lines[1:])}


class Follower(Http):
    """One stream of events."""

    async def follow(self, path: str) -> None:
        """Begin."""
        self.writer.write(f"GET {path}/events HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        await self.head()
        await self.until("run.snapshot")

    async def until(self, name: str) -> dict[str, Any]:
        """Return the data of the next event called *name*."""
        wanted = f"event: {name}\n".encode()
        while await self.reader.readline() != wanted:
            assert not self.reader.at_eof()
        await self.reader.readline()
        return json.loads((await self.reader.readline()).removeprefix(b"data: "))


class Ear(asyncio.Protocol):
    """A follower that notes when it hears something, and does nothing else: the client is not what is measured."""

    heard: int
    last = b""
    all_heard: asyncio.Event

    def data_received(self, data: bytes) -> None:
        """Note it."""
        if b"event: " in data:
            Ear.last = data
            Ear.heard -= 1
            if not Ear.heard:
                Ear.all_heard.set()

    @classmethod
    def expect(cls, followers: int) -> None:
        """Wait for so many from now on."""
        cls.heard, cls.all_heard = followers, asyncio.Event()


async def memory_of(client: Http) -> float:
    """Return the server's memory, in megabytes."""
    found: float = json.loads((await client.send("GET", "/memory"))[1])["megabytes"]
    return found


async def one_run(port: int, followers: int) -> list[float]:
    """Return, for each of some events of one run, the seconds to the last of *followers*."""
    loop = asyncio.get_running_loop()
    async with Http(port) as client:
        headers, _ = await client.send("POST", "/ticking?name=a")
        Ear.expect(followers)
        crowd = []
        for _ in range(followers):
            transport, _ = await loop.create_connection(Ear, HOST, port)
            transport.write(f"GET {headers['location']}/events HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            crowd.append(transport)
        await Ear.all_heard.wait()
        found = []
        for _ in range(20):
            Ear.expect(followers)
            await asyncio.sleep(0.15)
            await client.send("POST", "/tick?name=a")
            await Ear.all_heard.wait()
            now = time.time()
            data = json.loads(Ear.last.partition(b"data: ")[2].partition(b"\n")[0])
            found.append(now - float(data["text"]))
        Ear.expect(followers)
        await client.send("POST", "/tick?name=a")
        await Ear.all_heard.wait()
        for transport in crowd:
            transport.close()
        return found


async def many_runs(port: int, followers: int) -> tuple[float, list[float]]:
    """Return the seconds in which *followers* of as many runs all hear of the end of their own.

    And the server's memory: before, with all of them, and when they have gone.
    """
    async with Http(port) as client:
        memory = [await memory_of(client)]
        crowd = []
        for _ in range(followers):
            headers, _ = await client.send("POST", "/gated")
            one = await Follower(port).__aenter__()
            await one.follow(headers["location"])
            crowd.append(one)
        memory.append(await memory_of(client))
        begun = time.perf_counter()
        await client.send("POST", "/open")
        ends = await asyncio.gather(*(one.until("run.finished") for one in crowd))
        assert {end["state"] for end in ends} == {"succeeded"}
        taken = time.perf_counter() - begun
        for one in crowd:
            await one.__aexit__()
        memory.append(await memory_of(client))
        return taken, memory


async def through(port: int, runs: int) -> AsyncIterator[tuple[int, float]]:
    """Send *runs* runs through the history; yield the server's memory now and then."""
    async with Http(port) as client:
        for n in range(runs + 1):
            if n % max(1, runs // 10) == 0:
                yield n, await memory_of(client)
            await client.send("POST", f"/short?n={n}")
        page = json.loads((await client.send("GET", "/runs?limit=100"))[1])
        assert len(page["items"]) == min(runs + 1, 100)


def serve() -> tuple[subprocess.Popen[bytes], int]:
    """Start the server on a free port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", "benchmarks.load:app", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(command)
    while True:
        try:
            socket.create_connection((HOST, port)).close()
        except OSError:
            assert process.poll() is None, "the server has ended"
            time.sleep(0.05)
        else:
            return process, port


async def measure(port: int, followers: int, runs: int) -> bool:
    """Measure all, and print it; return whether the memory was flat once the history was full."""
    seconds = await one_run(port, followers)
    middle = statistics.median(seconds)
    verdict = "met" if middle <= MOST else "NOT MET"
    print(
        f"P18  one event to the last of {followers} followers: {middle * 1e3:.1f} ms (<= 20 ms: {verdict}), best "
        f"{min(seconds) * 1e3:.1f}, worst {max(seconds) * 1e3:.1f}"
    )
    taken, around = await many_runs(port, followers)
    print(f"     {followers} runs end, each with a follower: {taken * 1e3:.0f} ms to the last")
    before, during, after = around
    print(f"     memory before them {before:.1f} MB, with all of them {during:.1f} MB, after them {after:.1f} MB")
    full: list[float] = []
    async for n, megabytes in through(port, runs):
        print(f"     memory after {n:6} runs: {megabytes:.1f} MB", flush=True)
        if n >= HISTORY:
            full.append(megabytes)
    grown = full[-1] - full[0] if full else 0.0
    print(
        f"     since the history was full: {grown:+.1f} MB (<= {FLAT:.0f} MB: {'met' if grown <= FLAT else 'NOT MET'})"
    )
    return grown <= FLAT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return an exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.load", description=__doc__)
    parser.add_argument("--followers", type=int, default=500)
    parser.add_argument("--runs", type=int, default=10_000)
    options = parser.parse_args(arguments)
    process, port = serve()
    try:
        return 0 if asyncio.run(measure(port, options.followers, options.runs)) else 1
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


if __name__ == "__main__":
    sys.exit(main())
