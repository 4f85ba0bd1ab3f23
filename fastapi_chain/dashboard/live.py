"""What a page hears of a run while it goes on: only that something has changed. What has, it gets as the same HTML."""

from fastapi_chain.engines.base import KnownRun
from fastapi_chain.events import Event, RunFinished
from fastapi_chain.web.render import Renderer
from fastapi_chain.web.words import Words, chunk


class Ticks(Words):
    """Puts each event into two words: `changed`, or `finished`, and its number."""

    def __init__(self) -> None:
        """Say nothing about errors or values: there are none in two words."""
        super().__init__(Renderer(expose_errors=False))

    def snapshot(self, run: KnownRun, base: str, seq: int) -> bytes:  # noqa: ARG002 - as `Words` has it
        """Return that something may have changed: some events are gone, or the page does not say what it has seen."""
        return chunk("changed", seq, b"")

    def finished(self, run: KnownRun) -> bytes:
        """Return that *run* has finished."""
        return chunk("finished", run.seq, b"")

    def event(self, event: Event, run: KnownRun) -> bytes:  # noqa: ARG002 - as `Words` has it
        """Return what is sent for *event*."""
        return chunk("finished" if isinstance(event, RunFinished) else "changed", event.seq, b"")
