"""The plans of an app, as an engine needs them: how values are stored, what is called, which queues there are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from weakref import WeakKeyDictionary

from fastapi_chain._fastapi import overrides_of
from fastapi_chain._threads import Hopper
from fastapi_chain.engines.program import Gates, Program
from fastapi_chain.plan import Plan

from .children import TaskQueue, queues_of
from .schema import Schema, StoredState

Listen = Callable[[str], None]
"""Works on one more queue."""

Register = Callable[[TaskQueue], None]
"""Makes sure that a queue is there."""


class Plans:
    """Plans that are known."""

    def __init__(self, engine: str, hop: Hopper, find: Callable[[str], Plan | None], queues: Sequence[str]) -> None:
        """Know none yet.

        Args:
            engine: The engine's name, for errors.
            hop: Runs sync callables in a thread.
            find: Finds the plan of a chain by its name.
            queues: The queues of tasks with `queue=...` that this process works on.
        """
        self._engine: Final = engine
        self._hop = hop
        self._find = find
        self._queues = frozenset(queues)
        self._gates = Gates()
        self._schemas: WeakKeyDictionary[Plan, Schema] = WeakKeyDictionary()
        self._programs: WeakKeyDictionary[Plan, tuple[Mapping[object, object], Program]] = WeakKeyDictionary()
        self._known: dict[str, Plan] = {}
        self._wanted: dict[str, TaskQueue] = {}
        self.listened: dict[str, None] = {}
        """The queues of tasks that this process works on."""
        self._register: Register | None = None
        self._listen: Listen | None = None

    def work_on(self, queues: Iterable[str]) -> None:
        """Work on these queues as well, for plans to come."""
        self._queues |= frozenset(queues)

    def schema(self, plan: Plan) -> Schema:
        """Return how the values of *plan* are stored; from now on it is known."""
        schema = self._schemas.get(plan)
        if schema is None:
            schema = self._schemas[plan] = Schema(plan, self._engine)
            self._known[plan.chain] = plan
            self._want(plan)
        return schema

    def of(self, chain: str) -> Schema | None:
        """Return how the values of the chain called *chain* are stored; None if nobody knows it."""
        plan = self._known.get(chain) or self._find(chain)
        return None if plan is None else self.schema(plan)

    def program(self, state: StoredState) -> Program:
        """Return the program of the run's plan; it is compiled once, and anew when the overrides of the app change."""
        overrides = {} if state.app is None else overrides_of(state.app)
        known = self._programs.get(state.plan)
        if known is None or known[0] != overrides:
            known = dict(overrides), Program(state.plan, self._gates, self._hop, overrides)
            self._programs[state.plan] = known
        return known[1]

    def _want(self, plan: Plan) -> None:
        for name, (queue, of) in queues_of(plan).items():
            self._wanted[name] = queue
            if of is None or of in self._queues:
                self.listened[name] = None
                if self._listen is not None:
                    self._listen(name)
        self._make()

    def _make(self) -> None:
        while self._wanted and self._register is not None:
            self._register(self._wanted.popitem()[1])

    def open(self, register: Register) -> None:
        """Make the queues of all plans that are known, and of those to come, by *register*; blocks."""
        self._register = register
        self._make()

    def listen(self, listen: Listen | None) -> None:
        """Work on the queues of plans to come by *listen*."""
        self._listen = listen

    def close(self) -> None:
        """Make no more queues."""
        self._register = self._listen = None
