"""A real uvicorn: commits, connections that are kept alive, and signals."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Server:
    """A uvicorn in a process of its own."""

    def __init__(self, app: str, folder: Path, **environment: str) -> None:
        # Port 0: the system chooses a free one, and uvicorn says which.
        command = [sys.executable, "-m", "uvicorn", app, "--port", "0", "--app-dir", str(folder), "--no-access-log"]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | environment,
        )
        self.said: list[str] = []
        self._errors: list[str] = []
        self.port = self._listen()
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.said)),
            threading.Thread(target=self._read, args=(self.process.stderr, self._errors)),
        ]
        for reader in self._readers:
            reader.start()

    def _listen(self) -> int:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._errors.append(line)
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                return int(found[1])
        raise AssertionError("".join(self._errors))

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        lines.extend(stream)

    def post(self, path: str, body: object = None) -> tuple[int, Any]:
        return asyncio.run(Connection.once(self.port, "POST", path, body))

    def get(self, path: str) -> Any:
        return asyncio.run(Connection.once(self.port, "GET", path))[1]

    def stop(self) -> None:
        """Ask it to stop, as a supervisor does."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> list[str]:
        """Return what it has said, when it has ended by itself."""
        assert self.process.wait(timeout=30) in {0, -signal.SIGTERM}, "".join(self._errors)
        for reader in self._readers:
            reader.join()
        return [line.strip() for line in self.said]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


class Connection:
    """A connection that is kept alive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @classmethod
    async def once(cls, port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connection = await cls.open(port)
        try:
            return await connection.ask(method, path, body)
        finally:
            await connection.close()

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send a request; return the status and what the answer says."""
        content = b"" if body is None else json.dumps(body).encode()
        head = [f"{method} {path} HTTP/1.1", "host: test", "content-type: application/json"]
        self._writer.write("\r\n".join([*head, f"content-length: {len(content)}", "", ""]).encode() + content)
        await self._writer.drain()
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length"))
        answer = await self._reader.readexactly(length)
        status = int(lines[0].split()[1])
        return status, json.loads(answer) if status < 500 else answer.decode()

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@pytest.fixture
def serve() -> Iterator[Any]:
    """Return what starts a server."""
    servers: list[Server] = []

    def start(app: str, folder: Path = HERE, **environment: str) -> Server:
        servers.append(Server(app, folder, **environment))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


with_and_without_install = pytest.mark.parametrize("installed", ["", "yes"], ids=["alone", "installed"])


def test_the_first_screen_of_the_readme_does_what_it_says(serve):
    """The answer is out at once; the tasks run in their order, and the request's dependencies serve them as well."""
    server = serve("first_chain:app", ROOT / "docs" / "examples", PYTHONUNBUFFERED="1")
    assert server.post("/data", {"text": "Hello World"}) == (202, {"status": "accepted"})
    assert server.post("/data", {"text": "Good Night"}) == (202, {"status": "accepted"})
    assert server.post("/data", {"words": []})[0] == 422
    server.stop()
    assert sorted(server.wait()) == [
        "indexed ['good', 'night']",
        "indexed ['hello', 'world']",
        "row 1 is saved",
        "row 2 is saved",
    ]


@with_and_without_install
@pytest.mark.timeout(180)
def test_a_session_that_a_dependency_commits_is_there_for_the_first_task(serve, tmp_path, installed):
    """In 1,000 of 1,000 requests at once; and in none of 200 whose commit fails does a task start."""
    server = serve("shop_app:app", SHOP_DATABASE=f"sqlite:///{tmp_path / 'shop.db'}", SHOP_INSTALL=installed)

    async def main() -> None:
        gate = asyncio.Semaphore(400)  # connections; more wait in the listening queue of the system

        async def ask(n: int, name: str) -> int:
            async with gate:
                return (await Connection.once(server.port, "POST", f"/rows?n={n}&name={name}"))[0]

        assert set(await asyncio.gather(*(ask(n, f"row-{n}") for n in range(1000)))) == {202}
        # The answer was out before the commit failed.
        assert set(await asyncio.gather(*(ask(n, "row-0") for n in range(1000, 1200)))) == {202}
        connection = await Connection.open(server.port)
        while len((await connection.ask("GET", "/seen"))[1]) < 1000:
            await asyncio.sleep(0.05)
        _, seen = await connection.ask("GET", "/seen")
        await connection.close()
        assert sorted(seen) == [[n, f"row-{n}"] for n in range(1000)]

    asyncio.run(main())
    server.stop()
    server.wait()


@with_and_without_install
def test_the_next_request_on_a_connection_is_answered_while_the_run_goes_on(serve, installed):
    """The run waits for that very request."""
    server = serve("stopping_app:app", INSTALL=installed)

    async def main() -> None:
        connection = await Connection.open(server.port)
        assert await connection.ask("POST", "/runs") == (202, "started")
        assert await connection.ask("POST", "/release") == (200, "released")
        await connection.close()

    asyncio.run(main())
    server.stop()
    assert server.wait() == ["pool opens", "run begins", "run ends", "pool closes"]


@with_and_without_install
def test_a_server_that_is_told_to_stop_lets_runs_come_to_their_end(serve, installed):
    """Before any shutdown code of the user's: what the tasks need is still there."""
    server = serve("stopping_app:app", INSTALL=installed)

    async def main() -> None:
        connection = await Connection.open(server.port)
        await connection.ask("POST", "/runs")
        await connection.ask("POST", "/release")
        # The run needs 0.2 s more.
        server.stop()
        await connection.close()

    asyncio.run(main())
    assert server.wait() == ["pool opens", "run begins", "run ends", "pool closes"]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0
