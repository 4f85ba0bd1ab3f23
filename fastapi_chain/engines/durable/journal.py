"""What is told of one run that runs here, until the database knows it."""

import asyncio
from dataclasses import replace
from typing import Final

from fastapi_chain._clock import utc
from fastapi_chain._state import RunState, Sink
from fastapi_chain.engines.replay import replay
from fastapi_chain.events import Event, TaskLogged, TaskProgressed, TaskRetrying, TaskStarted
from fastapi_chain.observe.tasklog import keep_line, lines_of

RELAYED: Final = (TaskStarted, TaskRetrying, TaskProgressed, TaskLogged)
"""What a call elsewhere reports while it runs; how it begins and ends, the run itself tells."""


class Journal:
    """Keeps the events of a run, once somebody follows it."""

    def __init__(self, state: RunState, seq: int) -> None:
        """Belong to *state*.

        Args:
            state: The run.
            seq: The number of the last event that the database knows; 0 where it knows none.
        """
        self.untold: list[Event] = []
        """What the database does not know yet."""
        self.before: Final = seq
        """The number of the last event before those that are kept here."""
        self._state = state
        self._past: list[Event] = []
        self._followed = False
        self._users = len(state.sinks)

    def follow(self) -> list[Event]:
        """From now on, keep all events; return what has happened so far in this process."""
        state = self._state
        if self._followed:
            return list(self._past)
        self._followed = True
        if not self.before:
            self._past = replay(state)
            state.seq = len(self._past)
        state.followed = True
        self.untold += self._past
        state.sinks = (*state.sinks, self._note)
        return list(self._past)

    def _note(self, event: Event) -> None:
        self.untold.append(event)
        self._past.append(event)

    def listen(self, sink: Sink) -> None:
        """Tell *sink* what is kept from now on."""
        self._state.sinks = (*self._state.sinks, sink)

    def tell(self, kind: type[Event], **fields: object) -> None:
        """Tell what a call elsewhere has come to: the user's own sinks were told there."""
        state = self._state
        if self._followed:
            at = utc(state.now() + state.epoch)
            self._pass_on(kind(run_id=state.id, chain=state.plan.chain, seq=0, at=at, **fields))

    def relay(self, event: Event) -> None:
        """Take what a call elsewhere has reported while it runs."""
        state = self._state
        if isinstance(event, TaskLogged):
            keep_line(state, event)
        elif isinstance(event, TaskProgressed):
            state.progress[event.task] = event.progress
        if self._followed:
            self._pass_on(event)

    def _pass_on(self, event: Event) -> None:
        state = self._state
        state.seq += 1
        for sink in state.sinks[self._users :]:
            sink(replace(event, seq=state.seq))

    def conclude(self) -> None:
        """The run is over, or leaves this process: what its tasks have logged or reported is known to nobody else."""
        if self._state.progress or any(lines_of(self._state)):
            self.follow()


class Reports:
    """A sink of a call that is made for a run elsewhere: what the run is to be told meanwhile."""

    def __init__(self) -> None:
        """Have nothing to report."""
        self.untold: list[Event] = []
        """What the database does not know yet."""
        self._begun = False
        self.turn: Final = asyncio.Lock()
        """Held by whoever tells it: what the courier has begun to tell is not told again at the end."""

    def __call__(self, event: Event) -> None:
        """Take one more event."""
        if isinstance(event, TaskStarted) and not self._begun:
            self._begun = True
        elif isinstance(event, RELAYED):
            self.untold.append(event)
