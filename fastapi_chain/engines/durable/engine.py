"""The durable engine."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary, WeakValueDictionary

from fastapi_chain._fastapi import overrides_of
from fastapi_chain._program import Gates, Program
from fastapi_chain._state import Sink
from fastapi_chain._threads import Hopper, ThreadPool, default_pool
from fastapi_chain.engines.base import Page, RunFilter, RunRequest
from fastapi_chain.errors import ChainError, EngineError
from fastapi_chain.events import Event
from fastapi_chain.observe.log import log_event
from fastapi_chain.plan import Plan
from fastapi_chain.run import Run

from .adapter import Checkpoints, Worker, migrate, workflow_id
from .backend import DurableRun, Pages
from .children import ChildDoc, Elsewhere, TaskQueue, child_unit, queues_of
from .courier import Courier
from .cron import Crons
from .database import Database
from .documents import OutcomeDoc
from .execution import EndDoc, Execution, Prior
from .keeper import TIME_TO_LIVE, Keeper
from .keys import DurableKeys
from .names import RUN, RUNS, TASK, new_process
from .reading import Reading, empty_plan
from .schema import Schema, StoredState
from .searching import search
from .snapshot import dump_base
from .store import Order, Row, RunDoc, Store
from .telling import dump_event, load_event

P = ParamSpec("P")
R = TypeVar("R")

AT_ONCE: Final = 40
"""How many runs a worker takes at once from the queue where nothing else is said."""

_FIRST: Final = asyncio.FIRST_COMPLETED

_IDLE: Final = 0.02
"""Seconds between two looks at whether anything runs."""

_PROBE: Final = 1.0
"""Seconds for which a database that has answered is believed to be there."""


class DurableEngine:
    """Runs chains so that they survive the process."""

    heed: tuple[Sink, ...] = (log_event,)
    """Who is told what goes wrong in the runs that run here."""
    max_pending: int | None = None
    """How many runs of all chains together may be queued or running; None: any number."""

    def __init__(
        self,
        url: str,
        *,
        plans: Callable[[str], Plan | None] = lambda _: None,
        crons: Callable[[], Iterable[tuple[Plan, str]]] = tuple,
        app: object = None,
        worker: bool = True,
        pool: ThreadPool = default_pool,
        sinks: tuple[Sink, ...] = (),
        max_running: int | None = None,
        history: int = 1000,
        time_to_live: float = TIME_TO_LIVE,
        queues: Sequence[str] = (),
        kept: Pages | None = None,
    ) -> None:
        """Prepare an engine; nothing is connected before `open`.

        Args:
            url: `sqlite:///chains.db` or `postgresql://user:password@host/name`.
            plans: Finds the plan of a chain by its name; for runs that come from the database.
            crons: Tells the plans of chains that start by themselves, each with the times at which.
            app: The app whose `dependency_overrides` hold for them.
            worker: Whether runs run in this process; else it only takes them.
            pool: The threads of `def` tasks.
            sinks: Who is told every event of the runs that run here.
            max_running: How many runs at once in this process; the others are queued.
            history: How many finished runs are kept in the database.
            time_to_live: Seconds without a heartbeat after which a process counts as dead.
            queues: The queues of tasks with `queue=...` that this process works on.
            kept: Knows where the pages of runs are.

        Raises:
            EngineError: The URL is of no kind that is known.
        """
        self.database = Database(url)
        self.name = self.database.name
        self.hop = Hopper(pool)
        self.gates = Gates()
        self.worker = worker
        self.process = new_process()
        self.kept: Pages = NoPages() if kept is None else kept
        self._plans = plans
        self._crons = Crons(crons, self._due)
        self._app = app
        self._sinks = sinks
        self._max_running = max_running
        self._history = history
        self._time_to_live = time_to_live
        self._queues = queues
        self._schemas: WeakKeyDictionary[Plan, Schema] = WeakKeyDictionary()
        self._known: dict[str, Plan] = {}
        self._programs: WeakKeyDictionary[Plan, tuple[Mapping[object, object], Program]] = WeakKeyDictionary()
        self._windows: WeakValueDictionary[str, DurableRun] = WeakValueDictionary()
        self._fresh: dict[str, DurableRun] = {}
        self._active: dict[str, Execution] = {}
        self._calls: dict[str, Execution] = {}
        self.elsewhere = Elsewhere(self)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._wanted: dict[str, TaskQueue] = {}
        self._listened: dict[str, None] = {}
        self._is_open = False
        self._hurry = asyncio.Event()
        self._reached = 0.0
        self._dbos: Worker | None = None
        self._keeper: Keeper
        self._courier: Courier
        self._threads: ThreadPoolExecutor
        self.store: Store

    # --- its life

    async def open(self) -> None:
        """Begin: make the tables if they are missing, take over from the dead, and take runs from now on.

        Raises:
            EngineUnavailable: The database does not answer.
            EngineError: The database is of a newer version, or another durable engine runs in this process.
        """
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="fastapi-chain-store")
        self.store = Store(self.database, self.process)
        await self._blocking(self._prepare)
        self.keys = DurableKeys(self.store, self._blocking)
        self._courier = Courier(self, self._active.values)
        self._keeper = Keeper(
            self.store,
            self.process,
            works=self.worker,
            chores=(self._crons,) if self.worker else (),
            history=self._history,
            time_to_live=self._time_to_live,
        )
        # First be alive, then work: what runs here must not look like a dead one's.
        await self._blocking(self._keeper.start)
        self._courier.start()
        if self.worker:
            self._dbos = Worker(self.database, self.process)
            self._dbos.launch({RUN: self._run, TASK: self._call}, [RUNS, *self._listened])
        self._is_open = True

    def _prepare(self) -> None:
        migrate(self.database)
        self.database.create_tables(self.store.engine)
        if self.worker:
            self.store.register(RUNS, at_once=self._max_running or AT_ONCE)
        self._register()

    async def drain(self, seconds: float) -> None:
        """End: let what runs come to its end, for at most *seconds*; what is left is carried on by others, or after a restart."""
        ends = [run.performer for run in list(self._windows.values()) if run.performer is not None]
        waiting = [*self._tasks, *ends]
        if waiting:
            # The hurry is what a second signal to stop brings.
            hurry = asyncio.ensure_future(self._hurry.wait())
            await asyncio.wait((hurry, asyncio.ensure_future(asyncio.wait(waiting))), timeout=seconds, return_when=_FIRST)
            hurry.cancel()
        for execution in [*self._active.values(), *self._calls.values()]:
            execution.leave()
        if ends:
            await asyncio.wait(ends)
        await self.close()

    def hurry(self) -> None:
        """Wait no longer than necessary in `drain`."""
        self._hurry.set()

    async def idle(self) -> None:
        """Return when nothing runs in this process any more."""
        while self._tasks or self._fresh or self._active or self._calls:
            await asyncio.sleep(_IDLE)

    async def close(self) -> None:
        """End at once."""
        self._is_open = False
        await self._courier.stop()
        await self.elsewhere.stop()
        if self._dbos is not None:
            await self._dbos.stop()
        await self._blocking(self._keeper.stop)
        self._threads.shutdown(wait=False)
        self.store.close()

    async def _blocking(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call *fn* in a thread that waits for the database."""
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: context.run(fn, *args, **kwargs)
        )

    # --- plans

    def check(self, plan: Plan) -> Iterable[ChainError]:
        """Return what speaks against running *plan* here."""
        return self.schema(plan).problems

    def schema(self, plan: Plan) -> Schema:
        """Return how the values of *plan* are stored."""
        schema = self._schemas.get(plan)
        if schema is None:
            schema = self._schemas[plan] = Schema(plan, self.name)
            self._known[plan.chain] = plan
            self._want(plan)
        return schema

    def _want(self, plan: Plan) -> None:
        """See that the queues of the plan's tasks are there, and worked on if that is for this process."""
        for name, (queue, of) in queues_of(plan).items():
            self._wanted[name] = queue
            if of is None or of in self._queues:
                self._listened[name] = None
                if self._dbos is not None:
                    self._dbos.listen(name)
        if self._is_open:
            self._register()

    def _register(self) -> None:
        """Register the queues that are wanted and not there yet; blocks."""
        while self._wanted:
            name, queue = self._wanted.popitem()
            at_once = min(AT_ONCE, queue["together"] or AT_ONCE)
            self.store.register(name, at_once=at_once, together=queue["together"], rate=queue["rate"])

    def _schema_of(self, chain: str) -> Schema | None:
        plan = self._plans(chain) or self._known.get(chain)
        return None if plan is None else self.schema(plan)

    def program(self, state: StoredState) -> Program:
        """Return the program of the run's plan; it is compiled once, and anew when the overrides of the app change."""
        overrides = {} if state.app is None else overrides_of(state.app)
        known = self._programs.get(state.plan)
        if known is None or known[0] != overrides:
            known = dict(overrides), Program(state.plan, self.gates, self.hop, overrides)
            self._programs[state.plan] = known
        return known[1]

    # --- a run comes

    def take(self, request: RunRequest) -> Run:
        """Make a run, queued; it is not stored yet.

        Raises:
            UnserializableOutput: An input cannot be stored.
        """
        schema = self.schema(request.plan)
        values = dict(request.values)
        doc = _doc(request, schema, values)
        state = self._state(schema, values, doc)
        state.app = request.app or self._app
        if request.window is not None:
            state.__dict__["id"] = request.window.id
        order = Order(run=state.id, doc=doc, key=request.key, priority=request.priority, delay=request.delay)
        backend = self._windows[state.id] = DurableRun(self, state, order)
        if request.window is None:
            return Run(backend)
        request.window._backend = backend  # noqa: SLF001 - the window is ours
        return request.window

    def _state(self, schema: Schema, values: dict[str, object], doc: RunDoc) -> StoredState:
        """Return a run of which nothing has run."""
        state = StoredState(schema, values, self._sinks)
        state.tags = doc["tags"]
        state.heed = self.heed
        state.started_by = doc["started_by"]
        return state

    async def enlist(self, run: Run, session: Any) -> None:  # noqa: ANN401 - a session or connection, sync or async
        """Store *run* in the transaction of *session*: it begins if that is committed.

        Raises:
            UnserializableOutput: An input cannot be stored.
        """
        backend = backend_of(run)
        order = backend.order
        assert order is not None, "it was taken here"

        def insert(connection: Any) -> str:  # noqa: ANN401 - the sync face of the session
            return self.store.insert(connection, order, RUNS, order.delay)

        with self.database.reached():
            owner = await session.run_sync(insert) if hasattr(session, "run_sync") else insert(session)
        self._settle(backend, owner)
        backend.local = False

    def _due(self, plan: Plan, key: str) -> None:
        """Start a run of *plan*, unless somebody else has claimed its *key*; blocks."""
        schema = self.schema(plan)
        request = RunRequest(plan, {})
        order = Order(run=secrets.token_hex(16), doc=_doc(request, schema, {}), key=key)
        if self.store.enqueue(order) == order.run:
            self.store.leave(order)

    def hold(self, run: Run, *, sure: bool) -> None:
        """Store a run before the response to its request is sent; blocks.

        Args:
            run: The run, as `take` made it.
            sure: Whether nothing can roll its request back any more: then it runs even if the process dies.

        Raises:
            EngineUnavailable: The database does not answer.
        """
        backend = backend_of(run)
        assert backend.order is not None, "it was taken here"
        self._settle(backend, self.store.hold(backend.order, sure=sure))

    async def hold_soon(self, run: Run, *, sure: bool) -> None:
        """The same in a thread."""
        await self._blocking(self.hold, run, sure=sure)

    def _settle(self, backend: DurableRun, id_: str) -> None:
        """The run is stored, or another one that has its key."""
        backend.stored = True
        backend.become(id_)

    def start(self, run: Run, _request: RunRequest | None = None) -> "asyncio.Task[None]":
        """Start *run*; the task ends when it is certain that it will run, here or elsewhere."""
        task = asyncio.get_running_loop().create_task(self._start(backend_of(run)))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def _start(self, backend: DurableRun) -> None:
        order = backend.order
        assert order is not None, "it was taken here"
        if backend.stored:
            await self._blocking(self.store.release, order, backend.id)
        elif self._takes(order):
            await self._begin(backend, order)
            return
        else:
            self._settle(backend, await self._blocking(self.store.enqueue, order))
        if backend.execution is None:
            backend.local = False

    def _takes(self, order: Order) -> bool:
        """Whether a new run may begin right here, without a queue."""
        if self._dbos is None or order.key is not None or order.delay is not None or order.priority is not None:
            return False
        return len(self._active) + len(self._fresh) < (self._max_running or AT_ONCE)

    async def _begin(self, backend: DurableRun, order: Order) -> None:
        """Store a run and begin it here."""
        assert self._dbos is not None, "only a worker begins runs"
        if time.monotonic() - self._reached > _PROBE:
            # DBOS would wait until the database is back.
            await self._blocking(self.store.probe)
            self._reached = time.monotonic()
        self._fresh[order.run] = backend
        try:
            await self._dbos.start(order.run, order.doc, order.attributes)
        except BaseException:
            self._fresh.pop(order.run, None)
            raise

    async def perform(self, run: Run, _request: RunRequest | None = None) -> None:
        """Run *run*, and return when it has finished."""
        await self.start(run)
        await run.wait()

    def drop(self, run: Run) -> None:
        """Forget *run*, unless another request shares it."""
        backend = backend_of(run)
        if backend.stored and backend.order is not None:
            task = asyncio.get_running_loop().create_task(self._blocking(self.store.drop, backend.order, backend.id))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def pending(self, chain: str | None) -> int:
        """Return how many runs of *chain*, or of all chains, are waiting or running; blocks."""
        return self.store.pending(chain)

    # --- a run runs here

    async def _run(self, doc: RunDoc) -> EndDoc:
        """Run a run to its end; DBOS calls this."""
        run = workflow_id()
        backend = self._fresh.pop(run, None)
        if backend is not None:
            state, prior = cast("StoredState", backend.inner), Prior()
        else:
            prior = await self._blocking(self._prior, run, doc)
            state = self._carried(run, doc)
            backend = self._windows.get(run) or DurableRun(self, state)
            self._windows[run] = backend
        execution = Execution(
            self, state, names=doc["names"], values=doc["values"], deadline=doc["deadline"], prior=prior
        )
        if doc["deadline"] is not None and prior.started is None:
            await self._blocking(self.store.begun, run, state.clock.time())
        backend.attach(execution)
        self._active[run] = execution
        ended = False
        try:
            end = await execution.perform(backend, Checkpoints())
            await self._courier.tell([execution])
            ended = True
        finally:
            del self._active[run]
            backend.detach(ended=ended)
        return end

    async def _call(self, doc: ChildDoc) -> OutcomeDoc:
        """Run one call of a task that another process may wait for; DBOS calls this."""
        schema = self._schema_of(doc["chain"])
        i = None if schema is None else schema.plan.index.get(doc["task"])
        if schema is None or i is None:
            raise _unknown(doc["chain"])
        run = RunDoc(chain=doc["chain"], names=[], values=doc["values"], deadline=None, tags={}, started_by=None)
        state = self._carried(doc["run"], run)
        execution = Execution(self, state, names=[], values=doc["values"], deadline=None, prior=Prior())
        unit = child_unit(state, self.program(state).steps[i], self.hop, doc)
        id_ = workflow_id()
        self._calls[id_] = execution
        try:
            return await execution.call(unit, DurableRun(self, state), Checkpoints())
        finally:
            del self._calls[id_]

    def _prior(self, run: str, doc: RunDoc) -> Prior:
        prior = self.store.prior(run)
        late = prior.started is not None and doc["deadline"] is not None and time.time() > prior.started + doc["deadline"]
        if prior.cancel is None and not late:
            return prior
        return Prior(
            round=prior.round,
            base=prior.base,
            cancel=prior.cancel,
            started=prior.started,
            seq=prior.seq,
            told=prior.told,
            recorded=self.store.recorded(run),
        )

    def _carried(self, run: str, doc: RunDoc) -> StoredState:
        """Return a run that comes from the database, with nothing of it run."""
        schema = self._schema_of(doc["chain"])
        if schema is None:
            raise _unknown(doc["chain"])
        state = self._state(schema, schema.load_inputs(doc["values"]), doc)
        state.__dict__["id"] = run
        state.app = self._app
        return state

    # --- a run is looked at

    def look(self, run: str) -> StoredState | None:
        """Return a run as the database knows it; blocks."""
        row = self.store.row(run)
        return None if row is None else self._read(row)

    def _read(self, row: Row) -> StoredState:
        schema = self._schema_of(row.doc["chain"]) or Schema(empty_plan(row.doc["chain"]), self.name)
        prior = self.store.prior(row.run)
        told = map(load_event, self.store.events(row.run, 0)) if row.status == "PENDING" else ()
        return Reading(schema, row, prior, self.store.recorded(row.run)).read(told)

    async def look_soon(self, run: str) -> StoredState | None:
        """The same in a thread."""
        return await self._blocking(self.look, run)

    async def find(self, run: str) -> DurableRun | None:
        """Return the run with that id; None if there is none (any more).

        Raises:
            EngineUnavailable: The database does not answer.
        """
        backend = self._windows.get(run)
        if backend is not None and backend.local:
            return backend
        state = await self.look_soon(run)
        return None if state is None else self._window(state)

    def _window(self, state: StoredState) -> DurableRun:
        """Return what shows *state*."""
        backend = self._windows.get(state.id)
        if backend is None:
            backend = self._windows[state.id] = DurableRun(self, state)
        backend.show(state)
        return backend

    async def search(self, wanted: RunFilter, limit: int, cursor: str | None) -> Page:
        """Return at most *limit* runs, the newest first; arguments and errors as for `RunStore.search`."""
        found = await self._blocking(search, self.store, wanted, limit, cursor)
        states = await self._blocking(lambda: [self._read(row) for row in found.rows])
        return Page(runs=[self._window(state) for state in states], cursor=found.cursor)

    async def told(self, run: str, after: int) -> list[Event]:
        """Return its events with a greater number, as far as the database knows them."""
        return [load_event(text) for text in await self._blocking(self.store.events, run, after)]

    async def call(self, id_: str, queue: str, doc: ChildDoc) -> None:
        """Store a call of a task, unless it is there."""
        await self._blocking(self.store.call, id_, queue, doc)

    async def outcomes(self, ids: list[str]) -> dict[str, OutcomeDoc | str]:
        """Return the outcomes of those calls that have one; text where there will never be one."""
        return await self._blocking(self.store.outcomes, ids)

    async def revoke(self, ids: list[str]) -> None:
        """Let calls of tasks end that nobody waits for any more."""
        await self._blocking(self.store.revoke, ids)

    async def tell(self, rows: list[tuple[str, int, str]]) -> None:
        """Keep events: run, number and text of each."""
        await self._blocking(self.store.told, rows)

    async def cancelled(self, runs: list[str]) -> dict[str, str]:
        """Return those of *runs* that are to end early, each with the reason; calls for others end here."""
        if self._calls:
            for id_ in await self._blocking(self.store.revoked, list(self._calls)):
                if id_ in self._calls:
                    self._calls[id_].leave()
        return await self._blocking(self.store.cancelled, runs) if runs else {}

    async def cancel(self, run: str) -> str | None:
        """Order a run to end; return its state if it has ended already."""
        return await self._blocking(self.store.cancel, run)

    async def reopen(self, state: StoredState, past: list[Event]) -> bool:
        """Let a run begin again as *state* says, after the events *past*; return whether it had finished."""
        return await self._blocking(self._reopen, state, past)

    def _reopen(self, state: StoredState, past: list[Event]) -> bool:
        if not self.store.is_told(state.id):
            # From now on they are told as they happen, and go on counting from here.
            self.store.told([(state.id, event.seq, dump_event(event)) for event in past])
        round_ = self.store.prior(state.id).round + 1
        return self.store.reopen(state.id, round_, dump_base(state))


class NoPages:
    """There are no pages of runs."""

    base: str | None = None
    """The path below which they are: none."""


def _unknown(chain: str) -> EngineError:
    return EngineError(
        what=f"No chain of this app is called {chain!r}, or it has no such task.",
        fixes=("deploy its code to all workers, then: await run.retry()",),
    )


def _doc(request: RunRequest, schema: Schema, values: dict[str, object]) -> RunDoc:
    return RunDoc(
        chain=request.plan.chain,
        names=list(request.plan.names),
        values=schema.dump_inputs(values),
        deadline=request.deadline,
        tags=dict(request.tags),
        started_by=request.started_by,
    )


def backend_of(run: Run) -> DurableRun:
    """Return what stands behind a run of a durable engine."""
    return cast("DurableRun", run._backend)  # noqa: SLF001 - the window is ours

