"""The buffer of events of one run."""

import asyncio
from datetime import UTC, datetime

from fastapi_chain.engines.stream import KEPT, Stream
from fastapi_chain.events import Event, RunFinished, RunStarted

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def started(seq: int) -> Event:
    return RunStarted(run_id="r", chain="c", seq=seq, at=NOW)


def finished(seq: int) -> Event:
    return RunFinished(run_id="r", chain="c", seq=seq, at=NOW, state="succeeded")


async def numbers(stream: Stream, after: int = 0) -> list[int]:
    return [event.seq async for event in stream.read(after)]


def test_it_begins_with_what_has_happened():
    """Read from wherever one wants; a stream that has ended is read to its end."""
    stream = Stream([started(1), started(2), finished(3)])
    assert (stream.first, Stream().first) == (1, 1)
    assert [asyncio.run(numbers(stream, after)) for after in (0, 2, 3, 9)] == [[1, 2, 3], [3], [], []]


def test_a_reader_waits_for_more():
    """Until the end comes."""

    async def main() -> list[int]:
        stream = Stream()
        reader = asyncio.ensure_future(numbers(stream))
        for event in (started(1), started(2), finished(3)):
            await asyncio.sleep(0)
            stream(event)
        return await reader

    assert asyncio.run(main()) == [1, 2, 3]


def test_only_so_many_are_kept():
    """At least `KEPT`, at most twice that."""
    stream = Stream()
    for seq in range(1, 3 * KEPT + 2):
        stream(started(seq))
    assert KEPT <= len(stream._events) <= 2 * KEPT
    stream(finished(3 * KEPT + 2))
    read = asyncio.run(numbers(stream))
    assert read == list(range(stream.first, 3 * KEPT + 3))
    assert Stream([started(seq) for seq in range(1, KEPT + 5)]).first == 5


def test_a_reopened_stream_is_not_at_its_end():
    """A reader that knows all so far waits for the next round; one that begins anew reads both."""

    async def main() -> tuple[list[int], list[int]]:
        stream = Stream([started(1), finished(2)])
        stream.reopen()
        knows, new = asyncio.ensure_future(numbers(stream, 2)), asyncio.ensure_future(numbers(stream))
        await asyncio.sleep(0)
        stream(started(3))
        stream(finished(4))
        return await knows, await new

    assert asyncio.run(main()) == ([3, 4], [1, 2, 3, 4])
