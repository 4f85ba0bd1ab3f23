"""chain_clock: virtual time."""

import asyncio
import time

import pytest
from fastapi import FastAPI

from fastapi_chain import Backoff, DeadlineExceeded, RetryAfter, chain, current_task, task
from fastapi_chain._clock import REAL
from fastapi_chain.testing import ChainClock, chain_client, run_inline


def test_back_offs_cost_nothing(chain_clock: ChainClock) -> None:
    """Minutes of back-off pass at once; stamps and the recorded waits are as if they had not."""

    @task(retries=3, backoff=Backoff(initial=60, jitter=False))
    async def fetch() -> int:
        if current_task().attempt < 4:
            raise ConnectionError
        return 1

    began = time.perf_counter()
    run = asyncio.run(run_inline(chain(fetch)))
    assert time.perf_counter() - began < 10
    assert chain_clock.sleeps == [60, 60, 60]
    assert chain_clock.elapsed == 180
    starts = [attempt.started_at for attempt in run.tasks["fetch"].attempts]
    assert [(later - starts[0]).total_seconds() for later in starts] == [0, 60, 120, 180]


def test_parallel_waits_pass_together_and_in_order(chain_clock: ChainClock) -> None:
    """Two tasks that wait do not wait for each other, and the shorter wait ends first."""
    ends: list[str] = []

    def retried(name: str, seconds: float) -> object:
        @task(name=name, retries=1, retry_on=RetryAfter)
        async def wait() -> None:
            if current_task().attempt == 1:
                raise RetryAfter(seconds)
            ends.append(name)

        return wait

    asyncio.run(run_inline(chain(retried("slow", 30), retried("quick", 10))))
    assert ends == ["quick", "slow"]
    assert sorted(chain_clock.sleeps) == [10, 30]
    assert chain_clock.elapsed == 30


def test_rates_cost_nothing(chain_clock: ChainClock) -> None:
    """A rate is kept in virtual time."""

    @task
    async def numbers() -> list[int]:
        return list(range(5))

    @task(each=numbers, rate="2/m")
    async def send(number: int) -> float:
        return chain_clock.elapsed

    run = asyncio.run(run_inline(chain(send)))
    assert [round(at) for at in run[send]] == [0, 30, 60, 90, 120]


def test_a_deadline_that_the_waits_exceed(chain_clock: ChainClock) -> None:
    """A deadline comes in its place among the waits."""

    @task(retries=5, backoff=40)
    async def fetch() -> None:
        raise ConnectionError

    with pytest.raises(DeadlineExceeded):
        asyncio.run(run_inline(chain(fetch, deadline=100)))
    assert chain_clock.sleeps == [40, 40, 40]
    assert chain_clock.elapsed == 100


def test_time_passes_by_hand(chain_clock: ChainClock) -> None:
    """A task that hangs meets its deadline when the test lets so much time pass, and not before."""

    @task
    async def hang() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        run = await chain(hang, deadline=300).start()
        await chain_clock.advance(299)
        assert run.state == "running"
        await chain_clock.advance(1)
        await run.wait()
        assert (run.state, run.reason) == ("failed", "deadline")

    asyncio.run(main())


def test_a_task_may_pretend_to_be_slow(chain_clock: ChainClock) -> None:
    """A task that sleeps on the clock takes that much virtual time; a wait that is cancelled is forgotten."""

    @task
    async def slow() -> None:
        await chain_clock.sleep(7200)

    run = asyncio.run(run_inline(chain(slow)))
    attempt = run.tasks["slow"].attempts[0]
    assert attempt.finished_at is not None
    assert (attempt.finished_at - attempt.started_at).total_seconds() == 7200

    async def main() -> None:
        run = await chain(slow).start()
        sleeper = asyncio.create_task(chain_clock.sleep(5))
        sleeper.cancel()
        await run.wait()

    asyncio.run(main())
    assert chain_clock.elapsed == 14400


def test_it_holds_in_every_thread(chain_clock: ChainClock) -> None:
    """A test client runs its app in another thread; time is virtual there too."""
    app = FastAPI()

    @task(retries=1, backoff=3600)
    def fetch() -> None:
        if current_task().attempt == 1:
            raise ConnectionError

    @app.post("/fetch", status_code=202)
    @chain(fetch)
    def endpoint() -> None:
        pass

    with chain_client(app) as client:
        assert client.run_of(client.post("/fetch")).state == "succeeded"
    assert chain_clock.elapsed == 3600


def test_several_may_wait_for_quiet(chain_clock: ChainClock) -> None:
    """A test that lets time pass while a run waits, or another one does the same, holds nobody up."""

    async def main() -> float:
        waits = asyncio.ensure_future(chain_clock.sleep(20))
        await asyncio.gather(chain_clock.advance(5), chain_clock.advance(10))
        await waits
        return chain_clock.elapsed

    assert asyncio.run(main()) == 20


def test_what_a_closed_loop_waited_for_is_forgotten(chain_clock: ChainClock) -> None:
    """A run that was cut off by the end of its loop disturbs no later one."""

    @task(retries=1, backoff=10)
    async def fetch() -> None:
        raise ConnectionError

    async def cut_off() -> None:
        chain_clock.call_later(5, lambda: pytest.fail("its loop is closed"))

    asyncio.run(cut_off())
    with pytest.raises(ConnectionError):
        asyncio.run(run_inline(chain(fetch)))
    assert chain_clock.elapsed >= 10


def test_real_time_comes_back() -> None:
    """After the test the process has its real clock again."""
    before = dict(vars(REAL))
    with ChainClock().in_place() as clock:
        assert REAL.time() == clock.time()
        assert REAL.monotonic() == clock.monotonic()
    assert vars(REAL) == before == {}
