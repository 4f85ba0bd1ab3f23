"""The durable engine: where runs come in, and where all its parts are put together."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextvars import Context
from typing import Any, Final, cast

from fastapi_chain._state import Sink
from fastapi_chain._state.telling import Heed
from fastapi_chain._threads import Hopper, ThreadPool, default_pool
from fastapi_chain.engines.base import Page, RunFilter, RunRequest
from fastapi_chain.errors import ChainError
from fastapi_chain.observe.log import log_event
from fastapi_chain.plan import Plan
from fastapi_chain.run import Run

from .adapter import Worker, migrate
from .backend import DurableRun, Pages
from .children import TaskQueue
from .cron import Crons
from .database import Database
from .desk import Desk
from .intake import Intake
from .keeper import TIME_TO_LIVE, Keeper
from .keys import DurableKeys
from .link import Link
from .looking import Looking
from .names import RUN, RUNS, TASK, new_process
from .plans import Plans
from .runner import Runner
from .schema import Schema, StoredState
from .stored import Order, RunDoc

AT_ONCE: Final = 40
"""How many runs a worker takes at once from the queue where nothing else is said."""

_PROBE: Final = 1.0
"""Seconds for which a database that has answered is believed to be there."""


class NoPages:
    """There are no pages of runs."""

    base: str | None = None
    """The path below which they are: none."""


class DurableEngine:
    """Runs chains so that they survive the process."""

    heed: tuple[Heed, ...] = (log_event,)
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
            max_running: How many runs at once in this process; the others are queued, in the order in which they came.
                None: 40, and a run begins right where it was taken if that is a worker with room.
            history: How many finished runs are kept in the database.
            time_to_live: Seconds without a heartbeat after which a process counts as dead.
            queues: The queues of tasks with `queue=...` that this process works on.
            kept: Knows where the pages of runs are.

        Raises:
            EngineError: The URL is of no kind that is known.
        """
        self.database = Database(url)
        self.name: str = self.database.name
        """`sqlite` or `postgresql`."""
        self.hop = Hopper(pool)
        self.worker = worker
        self.process = new_process()
        self.kept: Pages = NoPages() if kept is None else kept
        self.plans = Plans(self.name, self.hop, plans, queues)
        self._app = app
        self._sinks = sinks
        self._max_running = max_running
        self._at_once = max_running or AT_ONCE
        self._history = history
        self._time_to_live = time_to_live
        self._crons = Crons(crons, self._due)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._hurry = asyncio.Event()
        self._reached = 0.0
        self._dbos: Worker | None = None
        self.link: Link
        self.keys: DurableKeys
        self.keeper: Keeper
        self.runner: Runner
        self._desk: Desk
        self._intake: Intake

    # --- its life

    def work_on(self, queues: Iterable[str]) -> None:
        """Work on these queues of tasks with `queue=...` as well; to be said before `open`."""
        self.worker = True
        self.plans.work_on(queues)

    async def open(self) -> None:
        """Begin: make the tables if they are missing, take over from the dead, and take runs from now on.

        Raises:
            EngineUnavailable: The database does not answer.
            EngineError: The database is of a newer version, or another durable engine runs in this process.
        """
        link = self.link = Link(self.database, self.process)
        self.keys, self._intake = DurableKeys(link), Intake(link)
        self._desk = Desk(self.name, link, self.plans, self.kept)
        self.runner = Runner(link, self.plans, self._desk, self.hop, self._state, at_once=self._at_once)
        chores = (self._crons,) if self.worker else ()
        self.keeper = Keeper(
            link,
            self.process,
            works=self.worker,
            chores=chores,
            history=self._history,
            time_to_live=self._time_to_live,
        )
        try:
            await link.patiently(self._prepare)
            # First be alive, then work: what runs here must not look like a dead one's.
            await link.patiently(self.keeper.start)
            self.runner.start()
            if self.worker:
                dbos = Worker(self.database, self.process)
                dbos.launch({RUN: self.runner.run, TASK: self.runner.call_here}, [RUNS, *self.plans.listened])
                self._dbos = dbos
                self.plans.listen(dbos.listen)
        except BaseException:
            await self._close()
            raise

    def _prepare(self) -> None:
        migrate(self.database)
        self.database.create_tables(self.link.engine)
        if self.worker:
            self._intake.register(RUNS, at_once=self._at_once)
        self.plans.open(self._register)

    def _register(self, queue: TaskQueue) -> None:
        together, rate = queue["together"], queue["rate"]
        self._intake.register(queue["name"], at_once=min(AT_ONCE, together or AT_ONCE), together=together, rate=rate)

    async def drain(self, seconds: float) -> None:
        """End: let what runs come to its end, for at most *seconds*.

        What is left is carried on by others, or after a restart.
        """
        ends = [run.performer for run in self._desk.windows() if run.performer is not None]
        waiting = [*self._tasks, *ends]
        if waiting:
            hurry = asyncio.ensure_future(self._hurry.wait())
            all_over = asyncio.ensure_future(asyncio.wait(waiting))
            await asyncio.wait((hurry, all_over), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
        for task in self._tasks:
            task.cancel()
        await self.runner.conclude()
        self.runner.leave()
        if waiting:
            await asyncio.wait(waiting)
        await self._close()

    def hurry(self) -> None:
        """Wait no longer than necessary in `drain`."""
        self._hurry.set()

    async def idle(self) -> None:
        """Return when nothing of this engine runs in this process any more."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
        await self.runner.idle()

    async def _close(self) -> None:
        self.plans.close()
        await self.runner.stop()
        if self._dbos is not None:
            await self._dbos.stop()
            self._dbos = None
        await self.link(self.keeper.stop)
        self.link.close()

    # --- a run comes

    def check(self, plan: Plan) -> Iterable[ChainError]:
        """Return what speaks against running *plan* here."""
        return self.plans.schema(plan).problems

    def take(self, request: RunRequest) -> Run:
        """Make a run, queued; it is not stored yet.

        Raises:
            UnserializableOutput: An input cannot be stored.
        """
        schema = self.plans.schema(request.plan)
        values = dict(request.values)
        doc = _doc(request, schema, values)
        state = self._state(schema, values, doc)
        state.app = request.app or self._app
        if request.window is not None:
            state.id = request.window.id
        order = Order(run=state.id, doc=doc, key=request.key, priority=request.priority, delay=request.delay)
        backend = self._desk.window(state, order)
        if request.window is None:
            return Run(backend)
        request.window._backend = backend  # noqa: SLF001 - the window is ours
        return request.window

    def _state(self, schema: Schema, values: dict[str, object], doc: RunDoc) -> StoredState:
        """Return a run of which nothing has run."""
        state = StoredState(schema, values, self._sinks)
        state.tags = doc["tags"]
        state.started_by = doc["started_by"]
        state.heed = self.heed
        state.app = self._app
        return state

    async def hold_soon(self, run: Run, *, sure: bool) -> None:
        """Store a run before the response to its request is sent.

        Args:
            run: The run, as `take` made it.
            sure: Whether nothing can roll its request back any more: then it runs even if the process dies.

        Raises:
            EngineUnavailable: The database does not answer.
        """
        backend, order = _taken(run)
        backend.settle(await self.link(self._intake.hold, order, sure=sure))

    async def enlist(self, run: Run, session: Any) -> None:  # noqa: ANN401 - a session or connection, sync or async
        """Store *run* in the transaction of *session*: it begins if that is committed.

        Raises:
            EngineUnavailable: The database does not answer.
        """
        backend, order = _taken(run)

        def insert(connection: Any) -> str:  # noqa: ANN401 - the sync face of the session
            return self._intake.insert(connection, order, RUNS, order.delay)

        with self.database.reached():
            owner = await session.run_sync(insert) if hasattr(session, "run_sync") else insert(session)
        backend.settle(owner)
        backend.away()

    def _due(self, plan: Plan, key: str) -> None:
        """Start a run of *plan*, unless somebody else has claimed its *key*; blocks."""
        doc = _doc(RunRequest(plan, {}), self.plans.schema(plan), {})
        order = Order(run=secrets.token_hex(16), doc=doc, key=key)
        if self._intake.enqueue(order) == order.run:
            self._intake.leave(order)

    def start(self, run: Run, _request: RunRequest | None = None) -> "asyncio.Task[None]":
        """Start *run*; the task ends when it is certain that it will run, here or elsewhere."""
        return self._spawn(self._start(*_taken(run)))

    def _spawn(self, body: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(body)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Whoever waits for the task hears of it; the others were answered already.
            task.exception()

    async def _start(self, backend: DurableRun, order: Order) -> None:
        if backend.stored:
            # The request has committed: the run must begin.
            await self.link.surely(self._intake.release, order, backend.id)
        elif self._dbos is not None and order.plain and self._max_running is None and self.runner.running < AT_ONCE:
            await self._begin(self._dbos, backend, order)
            return
        else:
            backend.settle(await self.link(self._intake.enqueue, order))
        backend.away()

    async def _begin(self, dbos: Worker, backend: DurableRun, order: Order) -> None:
        """Store a run and begin it here."""
        if time.monotonic() - self._reached > _PROBE:
            # DBOS would wait until the database is back.
            await self.link(self.link.probe)
            self._reached = time.monotonic()
        self.runner.fresh[order.run] = backend
        try:
            await dbos.start(order.run, order.doc, order.attributes)
        except BaseException:
            self.runner.fresh.pop(order.run, None)
            raise

    def begin(self, run: Run, _request: RunRequest | None = None, _context: Context | None = None) -> Awaitable[None]:
        """Run *run*; what is left is all of it, for it is stored first. It has the context variables of a worker."""
        return self._perform(run)

    async def _perform(self, run: Run) -> None:
        await self.start(run)
        await run.wait()

    def drop(self, run: Run) -> None:
        """Forget *run*, unless another request shares it."""
        backend, order = _taken(run)
        if backend.stored:
            _ = self._spawn(self.link.surely(self._intake.drop, order, backend.id))

    # --- a run is looked for

    def pending(self, chain: str | None) -> int:
        """Return how many runs of *chain*, or of all chains, are waiting or running; blocks, but not for long."""
        return self.link.shortly(Looking(self.link).pending, chain)

    async def find(self, run: str) -> DurableRun | None:
        """Return the run with that id; None if there is none (any more).

        Raises:
            EngineUnavailable: The database does not answer.
        """
        return await self._desk.find(run)

    async def search(self, wanted: RunFilter, limit: int, cursor: str | None) -> Page:
        """Return at most *limit* runs, the newest first; arguments and errors as for `RunStore.search`."""
        return await self._desk.search(wanted, limit, cursor)


def _doc(request: RunRequest, schema: Schema, values: dict[str, object]) -> RunDoc:
    return RunDoc(
        chain=request.plan.chain,
        names=list(request.plan.names),
        values=schema.dump_inputs(values),
        deadline=request.deadline,
        tags=dict(request.tags or {}),
        started_by=request.started_by,
    )


def _taken(run: Run) -> tuple[DurableRun, Order]:
    """Return what stands behind a run that was taken here."""
    backend = cast("DurableRun", run._backend)  # noqa: SLF001 - the window is ours
    assert backend.order is not None, "it was taken here"
    return backend, backend.order
