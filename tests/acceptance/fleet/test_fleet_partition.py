"""Several machines, and one of them that is cut off from the others for a while."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fleet.network import SUBNET, Network
from tests.acceptance.fleet.stage import Fleet
from tests.engines.postgres_server import Postgres
from tests.engines.zygote import Zygote, wait_for


@pytest.fixture
def network() -> Iterator[Network]:
    """A network; the test is skipped where none can be made."""
    try:
        made = Network("database", "web", "worker", "other")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {error}")
    yield made
    made.close()


@pytest.fixture
def database(network: Network) -> Iterator[Postgres]:
    """A Postgres on a machine of its own."""
    folder = Path(tempfile.mkdtemp(prefix="fastapi-chain-"))
    made = Postgres(folder, f"{SUBNET}.0/24")
    with network.on("database"):
        made.start()
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_machine_that_is_cut_off(network: Network, database: Postgres, tmp_path: Path, zygote: Zygote):
    """Another one carries its run on; when the cable is in again, it has written nothing, and works as before."""
    url = f"postgresql://postgres@{network.address('database')}:{database.port}/postgres"
    fleet = Fleet(zygote, url, tmp_path)
    with network.on("web"):
        web = fleet.server(WORKER="no", TIME_TO_LIVE="3", MACHINE=network.path("web")).up()
        cut_off = fleet.worker(TIME_TO_LIVE="3", MACHINE=network.path("worker")).up()
        run = web.start("frozen")
        fleet.until("begin", run)
        other = fleet.worker(TIME_TO_LIVE="3", MACHINE=network.path("other")).up()
        network.pull("worker")
        begun = fleet.until("begin", run, 2)
        assert [line[1] for line in begun] == [cut_off.pid, other.pid]
        # Both come to the end of the task; only one can say so.
        fleet.tell("go on")
        wait_for(lambda: {line[1] for line in fleet.told("woke", run)} == {cut_off.pid, other.pid}, "both workers")
        assert web.finished(run)["state"] == "succeeded"
        network.plug("worker")
        other.stop()
        after = web.start("quick")
        assert web.finished(after)["state"] == "succeeded"
        assert [line[1] for line in fleet.told("begin", after)] == [cut_off.pid]
        assert [line[1:] for line in fleet.told("write", run)] == [[other.pid, "write", run, other.pid]]
        assert web.get(f"/chains/runs/{run}/result").body == {"write": other.pid}
        assert len(fleet.told("begin", run)) == 2
        for member in (web, cut_off):
            member.stop()
