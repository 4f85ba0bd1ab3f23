"""A run as the database knows it, put together as if it had run here."""

from collections.abc import Iterable, Mapping

from fastapi_chain._state.ledger import PENDING, RETRYING, RUNNING, SUCCEEDED
from fastapi_chain.errors import DeadlineExceeded, EngineError
from fastapi_chain.events import Event, TaskLogged, TaskProgressed, TaskRetrying, TaskStarted
from fastapi_chain.observe.tasklog import keep_line
from fastapi_chain.outcome import Attempt
from fastapi_chain.plan import Plan, make_plan
from fastapi_chain.plan.nodes import MISSING
from fastapi_chain.schedule import Schedule

from .documents import OutcomeDoc, load_outcome
from .prior import Prior
from .schema import Numbers, Schema, StoredState
from .snapshot import load_base, load_items, load_value
from .stored import Row


def empty_plan(chain: str) -> Plan:
    """Return what stands for the plan of a chain that this process does not know."""
    return make_plan(chain, (), ())


class Reading:
    """Puts a run together."""

    def __init__(self, schema: Schema, row: Row, prior: Prior, recorded: Mapping[int, OutcomeDoc]) -> None:
        """Read a run of the plan of *schema*.

        Args:
            schema: How its values are stored.
            row: The run as DBOS knows it.
            prior: What is known of its earlier rounds.
            recorded: The outcomes that are kept.
        """
        self._row = row
        self._prior = prior
        self._recorded = recorded
        self._numbers = Numbers(row.doc["names"], schema.plan, prior.round)
        self.state = StoredState(schema, schema.load_inputs(row.doc["values"]))
        self.state.id = row.run
        self.state.tags = row.doc["tags"]
        self.state.started_by = row.doc["started_by"]

    def read(self, told: Iterable[Event]) -> StoredState:
        """Return the run; *told* are its events."""
        state, row = self.state, self._row
        state.created = row.created - state.epoch
        state.state, state.reason = row.state, row.reason
        if self._prior.base is not None:
            load_base(state, self._prior.base)
        self._outcomes()
        if row.end is not None:
            self._end(dict(zip(row.end["names"], row.end["tasks"], strict=True)))
            state.started = row.end["started"] - state.epoch
            state.finished = row.end["finished"] - state.epoch
        elif row.completed is not None:
            state.finished = row.completed - state.epoch
        if row.state == "running":
            self._running()
        for event in told:
            self._apply(event)
        self._whole()
        return state

    def _outcomes(self) -> None:
        """Put down all outcomes that are kept of this round."""
        state = self.state
        for i, node in enumerate(state.plan.nodes):
            doc = self._recorded.get(self._numbers.task(i))
            if node.over is not None:
                self._items(i)
            elif doc is not None:
                load_outcome(state.ledger, i, doc, name=node.name, run=state.id)
                load_value(state, state.ledger, i, i, state.slots, doc)

    def _items(self, i: int) -> None:
        """Put the items of fan-out *i* down: those of this round, and those that an earlier one has left."""
        name = self.state.plan.names[i]
        size = self._size(i)
        if size is None:
            return
        base = self._prior.base
        docs = base["items"].get(name, []) if base is not None else []
        docs = [*docs, *[OutcomeDoc(state="pending")] * (size - len(docs))]
        load_items(self.state, i, [self._recorded.get(self._numbers.item(i, k), doc) for k, doc in enumerate(docs)])

    def _size(self, i: int) -> int | None:
        """Return how many items fan-out *i* has; None as long as nobody knows."""
        end = self._row.end
        if end is not None:
            return end["fans"].get(self.state.plan.names[i])
        over = self.state.slots[self.state.plan.nodes[i].over or 0]
        return len(over) if isinstance(over, list) else None

    def _end(self, docs: Mapping[str, OutcomeDoc]) -> None:
        """Put down how every task ended; what it returned is known already."""
        state = self.state
        for i, name in enumerate(state.plan.names):
            # What is not there came with later code.
            doc = docs.get(name, OutcomeDoc(state="skipped", reason="skip: added after this run"))
            load_outcome(state.ledger, i, doc, name=name, run=state.id)
            fan = state.fans.get(i)
            if fan is not None and state.ledger.states[i] == SUCCEEDED:
                state.slots[i] = [value for value in state.values[i] if value is not MISSING]

    def _running(self) -> None:
        """Put down what runs as far as the events do not say: whatever waits for nothing any more."""
        state = self.state
        state.started = (self._prior.started or self._row.created) - state.epoch
        for i in Schedule(state).ready():
            state.ledger.states[i] = RUNNING
            ends = [state.ledger.ended[p] for p in state.plan.nodes[i].parents]
            state.ledger.began[i] = max([*ends, state.started])

    def _apply(self, event: Event) -> None:
        state = self.state
        if isinstance(event, TaskProgressed):
            state.progress[event.task] = event.progress
            return
        if isinstance(event, TaskLogged):
            keep_line(state, event)
            return
        i = state.plan.index.get(getattr(event, "task", ""))
        if i is None or self._row.state != "running" or state.ledger.states[i] not in {PENDING, RUNNING, RETRYING}:
            return
        ledger, at = state.ledger, event.at.timestamp() - state.epoch
        if isinstance(event, TaskStarted):
            ledger.states[i], ledger.began[i] = RUNNING, at
            ledger.next_at.pop(i, None)
        elif isinstance(event, TaskRetrying):
            past = ledger.past.setdefault(i, [])
            if event.attempt == len(past) + 1:
                began = state.wall(ledger.began[i]) or 0.0
                past.append(
                    Attempt(
                        n=event.attempt,
                        state="failed",
                        started_at=event.at.fromtimestamp(began, event.at.tzinfo),
                        finished_at=event.at,
                        error=event.error,
                    )
                )
            ledger.states[i], ledger.next_at[i] = RETRYING, at + event.delay

    def _whole(self) -> None:
        """Put down what ended the run as a whole."""
        state, row = self.state, self._row
        if state.reason == "deadline":
            state.error = DeadlineExceeded(chain=state.plan.chain, seconds=row.doc["deadline"] or 0.0, run=row.run)
        elif row.end is None and row.state == "failed":
            state.error = EngineError(what=f"Run {row.run!r} did not run to its end: {state.reason}.")
