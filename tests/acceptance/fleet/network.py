"""Machines that are network namespaces: each has a cable to one switch, and a cable can be pulled out."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SUBNET = "10.203.7"


class Network:
    """A switch and machines on it; none of it is seen from outside."""

    def __init__(self, *machines: str) -> None:
        """Make them.

        Raises:
            subprocess.CalledProcessError: This machine or user cannot.
        """
        self._prefix = f"fc{os.getpid()}"
        self._made: list[str] = []
        try:
            self._add("switch")
            self._ip("-n", self._space("switch"), "link", "add", "bridge", "type", "bridge")
            self._ip("-n", self._space("switch"), "link", "set", "bridge", "up")
            for number, machine in enumerate(machines, start=1):
                self._connect(machine, number)
        except BaseException:
            self.close()
            raise
        self._numbers = {machine: number for number, machine in enumerate(machines, start=1)}

    def _space(self, machine: str) -> str:
        return f"{self._prefix}-{machine}"

    def _add(self, machine: str) -> None:
        self._ip("netns", "add", self._space(machine))
        self._made.append(machine)
        self._ip("-n", self._space(machine), "link", "set", "lo", "up")

    def _connect(self, machine: str, number: int) -> None:
        self._add(machine)
        here, switch = self._space(machine), self._space("switch")
        self._ip("-n", switch, "link", "add", machine, "type", "veth", "peer", "name", "cable", "netns", here)
        self._ip("-n", switch, "link", "set", machine, "master", "bridge", "up")
        self._ip("-n", here, "addr", "add", f"{SUBNET}.{number}/24", "dev", "cable")
        self._ip("-n", here, "link", "set", "cable", "up")

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def address(self, machine: str) -> str:
        return f"{SUBNET}.{self._numbers[machine]}"

    def path(self, machine: str) -> str:
        """Return what a process opens to be on *machine* from then on: see `enter`."""
        return f"/run/netns/{self._space(machine)}"

    @contextmanager
    def on(self, machine: str) -> Iterator[None]:
        """Be on *machine*, with this thread and all processes that it starts meanwhile."""
        home = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        back = os.open(home, os.O_RDONLY)
        enter(self.path(machine))
        try:
            yield
        finally:
            _enter(back)

    def pull(self, machine: str) -> None:
        """Pull its cable out: nothing it sends arrives, and it hears nothing."""
        self._ip("-n", self._space("switch"), "link", "set", machine, "down")

    def plug(self, machine: str) -> None:
        """Put the cable in again."""
        self._ip("-n", self._space("switch"), "link", "set", machine, "up")

    def close(self) -> None:
        for machine in reversed(self._made):
            subprocess.run(["ip", "netns", "del", self._space(machine)], check=False, capture_output=True)


def enter(path: str) -> None:
    """Be on the machine with that path from now on: this thread, and what it starts."""
    _enter(os.open(path, os.O_RDONLY))


def _enter(file: int) -> None:
    # os.setns is new in Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.setns(file, 0)
    os.close(file)
    if failed:
        raise OSError(ctypes.get_errno(), "setns")
