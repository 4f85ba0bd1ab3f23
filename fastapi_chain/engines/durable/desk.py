"""What windows on runs ask of the database.

The `Home` of every `DurableRun`, and where all of this process are known.
"""

from collections.abc import Sequence
from weakref import WeakValueDictionary

from fastapi_chain.engines.base import Page, RunFilter
from fastapi_chain.events import Event

from .backend import DurableRun, Pages
from .carrying import Carrying
from .link import Link
from .looking import Looking
from .plans import Plans
from .reading import Reading, empty_plan
from .schema import Schema, StoredState
from .searching import search
from .snapshot import dump_base
from .stored import Order, Row
from .telling import dump_event, load_event


class Desk:
    """Answers whoever looks at a run."""

    def __init__(self, name: str, link: Link, plans: Plans, kept: Pages) -> None:
        """Answer from *link*.

        Args:
            name: The engine's name, for errors.
            link: The database.
            plans: The plans that are known here.
            kept: Where the pages of runs are.
        """
        self.kept = kept
        self._name = name
        self._link = link
        self._plans = plans
        self._looking = Looking(link)
        self._carrying = Carrying(link)
        self._windows: WeakValueDictionary[str, DurableRun] = WeakValueDictionary()

    def window(self, state: StoredState, order: Order | None = None) -> DurableRun:
        """Return the one window on the run of *state* in this process; it shows that, unless it knows better."""
        backend = self._windows.get(state.id)
        if backend is None:
            backend = self._windows[state.id] = DurableRun(self, state, order)
        backend.show(state)
        return backend

    def known(self, run: str) -> DurableRun | None:
        """Return the window on a run, if there is one."""
        return self._windows.get(run)

    def windows(self) -> Sequence[DurableRun]:
        """Return all windows."""
        return list(self._windows.values())

    def look(self, run: str) -> StoredState | None:
        """Return a run as the database knows it; blocks, but not for long."""
        return self._link.shortly(self._look, run)

    def _look(self, run: str) -> StoredState | None:
        row = self._looking.row(run)
        return None if row is None else self._read([row], whole=True)[0]

    def _read(self, rows: Sequence[Row], *, whole: bool) -> list[StoredState]:
        """Put runs together; what their tasks have logged only if they are wanted as a *whole*."""
        ids = [row.run for row in rows]
        priors, recorded = self._carrying.priors(ids), self._carrying.recorded(ids)
        last = self._looking.last(ids)
        states = []
        for row in rows:
            schema = self._plans.of(row.doc["chain"]) or Schema(empty_plan(row.doc["chain"]), self._name)
            wanted = whole or row.status == "PENDING"
            told = [load_event(text) for text in self._looking.events(row.run, 0)] if wanted else []
            state = Reading(schema, row, priors[row.run], recorded[row.run]).read(told)
            state.seq = told[-1].seq if told else last.get(row.run, 0)
            states.append(state)
        return states

    async def look_soon(self, run: str) -> StoredState | None:
        """Do the same in a thread."""
        return await self._link(self._look, run)

    async def find(self, run: str) -> DurableRun | None:
        """Return the run with that id; None if there is none (any more)."""
        backend = self._windows.get(run)
        if backend is not None and backend.local:
            return backend
        state = await self.look_soon(run)
        return None if state is None else self.window(state)

    async def search(self, wanted: RunFilter, limit: int, cursor: str | None) -> Page:
        """Return at most *limit* runs, the newest first."""
        found = await self._link(search, self._link, wanted, limit, cursor)
        states = await self._link(self._read, found.rows, whole=False)
        return Page(runs=[self.window(state) for state in states], cursor=found.cursor)

    async def told(self, run: str, after: int) -> list[Event]:
        """Return its events with a greater number, as far as the database knows them."""
        return [load_event(text) for text in await self._link(self._looking.events, run, after)]

    async def cancel(self, run: str) -> str | None:
        """Order a run to end; return its state if it has ended already."""
        return await self._link(self._looking.cancel, run)

    async def reopen(self, state: StoredState, past: Sequence[Event]) -> bool:
        """Let a run begin again as *state* says, after the events *past*; return whether it had finished."""
        return await self._link(self._reopen, state, past)

    def _reopen(self, state: StoredState, past: Sequence[Event]) -> bool:
        if not self._looking.is_told(state.id):
            # From now on they are told as they happen, and go on counting from here.
            self._carrying.told([(state.id, event.seq, dump_event(event)) for event in past])
        round_ = self._carrying.priors([state.id])[state.id].round + 1
        return self._looking.reopen(state.id, round_, dump_base(state))
