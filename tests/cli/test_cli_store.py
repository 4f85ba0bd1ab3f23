"""The runs of a durable engine: `runs`, `show`, `retry`, `cancel` right from its database, and `worker`."""

import asyncio
import signal

import pytest

from fastapi_chain import chain, task
from fastapi_chain.cli.store import StoredRuns
from fastapi_chain.engines.here import set_engine
from fastapi_chain.engines.history import History
from fastapi_chain.engines.memory import MemoryEngine
from fastapi_chain.web.models import RunModel, RunPage
from tests.cli.conftest import Cli, schema_holds

APP = """
import asyncio
from pathlib import Path

from fastapi import FastAPI
from fastapi_chain import chain, install, task

app = FastAPI()
install(app, engine="sqlite:///chains.db", worker=False)


@task
async def charge(order: str) -> str:
    if order == "bad" and not Path("mended").exists():
        raise PermissionError("declined")
    return order


@task(after=[charge])
async def receipt(charge: str) -> str:
    return charge


checkout = chain(receipt, name="checkout", tags={"order": "{order}"})


async def enqueue() -> None:
    from fastapi_chain._lifespan import lifespan

    async with lifespan(app):
        for order in ("pen", "bad", "ink"):
            print((await checkout.start(order=order)).id)


if __name__ == "__main__":
    asyncio.run(enqueue())
"""


@pytest.mark.timeout(180)
def test_a_database(cli: Cli) -> None:
    """Runs wait until a worker comes; they are listed, shown, cancelled and retried without any server."""
    cli.write("main.py", APP)
    good, bad, unwanted = cli.python("main.py").split()
    listed = cli.process("runs", "--json", "--tag", "order:pen").json
    assert schema_holds(RunPage, listed)
    assert [(item["id"], item["state"]) for item in listed["items"]] == [(good, "queued")]
    assert cli.process("cancel", unwanted[:12]).out == f"checkout {unwanted[:12]} is cancelled\n"
    worker = cli.start("worker")
    assert worker.stderr is not None
    assert worker.stderr.readline() == "fastapi-chain: worker of 1 chain of main:app on sqlite; Ctrl-C ends it\n"
    assert cli.process("show", good, "--watch").code == 0
    failed = cli.process("show", bad[:12], "--watch")
    assert failed.code == 1
    assert '  main.py:14   raise PermissionError("declined")' in failed.lines
    assert "  PermissionError: declined" in failed.lines
    whole = cli.process("show", bad, "--traceback")
    assert '      raise PermissionError("declined")' in whole.lines
    cli.write("mended", "")
    assert cli.process("retry", bad).out == f"checkout {bad[:12]} runs again, from failed\n"
    mended = cli.process("show", bad, "--watch", "--json")
    assert (mended.code, mended.json["state"], schema_holds(RunModel, mended.json)) == (0, "succeeded", True)
    again = cli.process("cancel", bad)
    assert (again.code, again.out) == (1, "")
    assert again.err.startswith(f"fastapi-chain: error: Run '{bad}' has already succeeded")
    assert cli.process("show", "0" * 32).err == f"fastapi-chain: error: there is no run '{'0' * 32}'\n"
    assert cli.process("runs", "--cursor", "nonsense").err == "fastapi-chain: error: --cursor 'nonsense' is none\n"
    worker.send_signal(signal.SIGTERM)
    out, err = worker.communicate(timeout=30)
    assert (worker.returncode, out) == (0, "")
    assert "declined" in err


@pytest.mark.parametrize(
    ("install", "command"),
    [
        ("", "runs"),  # no `install` at all
        ("install(app)", "runs"),  # the memory engine
        ("install(app)", "worker"),
    ],
)
def test_no_database(cli: Cli, install: str, command: str) -> None:
    """Without a durable engine, only the app itself knows its runs; exit code 2."""
    cli.write(
        "main.py", f"from fastapi import FastAPI\nfrom fastapi_chain import install\n\napp = FastAPI()\n{install}\n"
    )
    result = cli(command)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "fastapi-chain: error: main:app keeps its runs in memory, where only the app itself finds them: "
        'give --url http://127.0.0.1:8000, or install(app, engine="sqlite:///chains.db")\n'
    )


def test_a_database_that_does_not_answer(cli: Cli) -> None:
    """What keeps a database from being opened is told in one line; exit code 2, for a worker too."""
    cli.write(
        "main.py",
        """
        from fastapi import FastAPI
        from fastapi_chain import install

        app = FastAPI()
        install(app, engine="sqlite:////no/such/folder/chains.db")
        """,
    )
    for command in ("runs", "worker"):
        result = cli.process(command)
        assert (result.code, result.out) == (2, "")
        assert result.err.splitlines()[-1].startswith("fastapi-chain: error: Engine 'sqlite")


def test_a_run_is_watched_change_by_change() -> None:
    """Each event of a run that goes on is a reason to look at it again; the last look sees its end."""

    async def main() -> None:
        engine = MemoryEngine(kept=History(10))
        set_engine(asyncio.get_running_loop(), engine)
        go = asyncio.Event()

        @task
        async def charge() -> None:
            await go.wait()

        run = await chain(charge).start()
        states: list[str] = []
        async for document in StoredRuns(engine).watch(run.id):
            states.append(document["state"])
            go.set()
        assert len(states) > 2
        assert (states[0], states[-1]) == ("queued", "succeeded")
        assert [document["state"] async for document in StoredRuns(engine).watch(run.id)] == ["succeeded"]

    asyncio.run(main())
