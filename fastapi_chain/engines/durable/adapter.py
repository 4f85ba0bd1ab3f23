"""All contact with DBOS.

DBOS is one for each process: a second engine on another database finds it taken. What is less than public is used here
only, and `tests/engines/test_durable_contract.py` says of each such thing what it must do.
"""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Any, Final, cast

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, SetWorkflowAttributes, SetWorkflowID
from dbos._context import DBOSContext, EnterDBOSStepCtx
from dbos._dbos import StepReservation, _get_dbos_instance
from dbos._queue import QueueRateLimit
from dbos._serialization import Serializer, serialize_value
from dbos._sys_db import OperationResultInternal

from fastapi_chain.errors import EngineError
from fastapi_chain.spec import Rate

from .database import Database
from .names import APPLICATION, RUN, TASK, VERSION

MAX_RECOVERIES: Final = 20
"""How often a run is carried on after its process has died; one that kills every process ends after that."""

POLL: Final = 0.1
"""Seconds between two looks at a queue."""

Handler = Callable[[Any], Awaitable[Any]]
"""Runs the document of a run, or of a task."""

_handlers: dict[str, Handler] = {}


class JsonSerializer(Serializer):
    """JSON, and errors as their name and text: nothing in the database can make anybody run code."""

    def serialize(self, data: object) -> str:
        """Return *data* as text."""
        return json.dumps(data, default=_dump_error, ensure_ascii=False)

    def deserialize(self, serialized_data: str) -> object:
        """Return the data of a text."""
        return json.loads(serialized_data, object_hook=_load_error)

    def name(self) -> str:
        """Return the name that stands beside each text."""
        return "fastapi_chain_json"


def _dump_error(error: object) -> dict[str, list[str]]:
    if not isinstance(error, BaseException):
        text = f"{type(error).__name__} is no JSON"
        raise TypeError(text)
    return {"fastapi_chain_error": [type(error).__name__, str(error)]}


def _load_error(data: dict[str, Any]) -> object:
    if data.keys() == {"fastapi_chain_error"}:
        return EngineError(what=": ".join(data["fastapi_chain_error"]))
    return data


@DBOS.workflow(name=RUN, max_recovery_attempts=MAX_RECOVERIES)
async def _run(doc: Any) -> Any:  # noqa: ANN401 - a JSON document
    return await _handlers[RUN](doc)


@DBOS.workflow(name=TASK, max_recovery_attempts=MAX_RECOVERIES)
async def _task(doc: Any) -> Any:  # noqa: ANN401 - a JSON document
    return await _handlers[TASK](doc)


class Worker:
    """DBOS, as it runs in this process."""

    _taken: "Worker | None" = None

    def __init__(self, database: Database, process: str) -> None:
        """Prepare to run what is in *database* as *process*."""
        self._database = database
        self._engine = database.connect(patient=True, size=20)
        self._process = process

    def launch(self, handlers: Mapping[str, Handler], queues: Sequence[str]) -> None:
        """Begin, on the running loop.

        Args:
            handlers: What runs each workflow.
            queues: The queues to listen to.

        Raises:
            EngineError: Another engine runs in this process.
        """
        if Worker._taken is not None:
            raise EngineError(
                what="Another durable engine runs in this process already.",
                fixes=("let all apps of the process share one: install(app, engine=other.engine)",),
            )
        Worker._taken = self
        _handlers.update(handlers)
        logging.getLogger("dbos").setLevel(logging.ERROR)
        # One config for each engine: DBOS keeps what the first one said.
        DBOS(
            config=DBOSConfig(
                name=APPLICATION,
                system_database_url=self._database.url,
                system_database_engine=self._engine,
                executor_id=self._process,
                application_version=VERSION,
                serializer=JsonSerializer(),
                log_level="CRITICAL",
                max_executor_threads=32,
                # We listen to nothing; it is how long the end takes.
                notification_listener_polling_interval_sec=0.25,
            )
        )
        DBOS.listen_queues(list(queues))
        with self._database.reached():
            DBOS.launch()

    def listen(self, queue: str) -> None:
        """Work on one more queue; its first look comes within a second."""
        listened = _get_dbos_instance()._listening_queues  # noqa: SLF001 - the public way is open before the launch only
        if listened is not None and queue not in listened:
            listened.append(queue)

    async def stop(self) -> None:
        """End. What runs must have ended before."""
        # DBOS waits for its threads: not on the loop, on which they may need a turn.
        stopper = threading.Thread(target=DBOS.destroy, daemon=True)
        stopper.start()
        while stopper.is_alive():  # noqa: ASYNC110 - a thread sets no event
            await asyncio.sleep(0.01)
        # DBOS has put its own executor, which is shut down now, into the loop.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
        self._engine.dispose()
        Worker._taken = None

    async def start(self, run: str, doc: object, attributes: Mapping[str, object]) -> None:
        """Store a run and begin it at once, here; return when it is stored."""
        with SetWorkflowID(run), SetWorkflowAttributes(dict(attributes)):
            await DBOS.start_workflow_async(_run, doc)


def workflow_id() -> str:
    """Return the id of the workflow that runs here."""
    return cast("str", DBOS.workflow_id)


class Checkpoints:
    """The checkpoints of the workflow that runs here."""

    def __init__(self, kept: Container[int] | None = None) -> None:
        """Belong to the running workflow. Draws no number of its own more than one.

        Args:
            kept: The numbers under which something is kept, found out since the workflow is ours: nobody else adds to
                them. So the database need not be asked before each checkpoint, which is two in five of its
                transactions. None: it is asked.
        """
        self._pattern = DBOS.reserve_step()
        self._kept = kept

    async def __call__(self, number: int, name: str, body: Callable[[], Awaitable[object]]) -> Any:  # noqa: ANN401 - JSON
        """Return what is kept under *number*; if there is nothing, what *body* returns, once it is kept.

        Args:
            number: Says what it is, for ever.
            name: Says the same, for people.
            body: What is done if it has not been done yet. An error of it other than a cancellation is kept as well.
        """

        async def step() -> object:
            return await body()

        context = copy(self._pattern._step_ctx)  # noqa: SLF001 - a reservation for a number of our own
        context.function_id = number
        if self._kept is None or number in self._kept:
            return await StepReservation(context).run_async({"name": name}, step)
        return await _keep(context, name, body)


async def _keep(context: DBOSContext, name: str, body: Callable[[], Awaitable[object]]) -> object:
    """Do what DBOS does for a step of which nothing is kept; an error is not kept."""
    dbos = _get_dbos_instance()
    began = int(time.time() * 1000)
    with EnterDBOSStepCtx({"name": name, "operationType": "step"}, context):
        result = await body()
        text, serialization = serialize_value(result, None, dbos._serializer)  # noqa: SLF001 - as below
        record = OperationResultInternal(
            workflow_uuid=context.workflow_id,
            function_id=context.function_id,
            function_name=name,
            output=text,
            error=None,
            serialization=serialization,
            started_at_epoch_ms=began,
            child_workflow_id=None,
        )
        # Refused if the workflow is not ours any more.
        await asyncio.to_thread(dbos._sys_db.record_operation_result, record)  # noqa: SLF001 - no public way skips the question
    return result


def client_of(engine: sa.Engine) -> DBOSClient:
    """Return what enqueues from anywhere; an error of the database is raised, not waited for."""
    return DBOSClient(
        system_database_engine=engine,
        serializer=JsonSerializer(),
        application_name=APPLICATION,
        lazy=True,
        retry_connection_errors=False,
    )


def register(
    client: DBOSClient, queue: str, *, at_once: int | None, together: int | None = None, rate: Rate | None = None
) -> None:
    """Make sure that *queue* is there.

    Args:
        client: Who asks.
        queue: Its name.
        at_once: How many each worker takes at once; None: as many as there are.
        together: How many run at once in all workers; None: as many as there are.
        rate: How many begin in a time; None: as many as there are.
    """
    limiter = None if rate is None else QueueRateLimit(limit=rate.count, period=rate.seconds)
    client.register_queue(
        queue, worker_concurrency=at_once, global_concurrency=together, limiter=limiter, polling_interval_sec=POLL
    )


def migrate(database: Database) -> None:
    """Make DBOS's tables, or bring them up to date."""
    with database.reached():
        DBOS.migrate(database.url)
