"""The heartbeat of this process, and what becomes of the runs of processes that have died.

DBOS fences: a process that was only asleep cannot write any more once somebody else has taken its runs. So to be wrong
about a death does no harm beyond a task that runs twice.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

import sqlalchemy as sa

from fastapi_chain.errors import EngineUnavailable

from .database import processes, workflows
from .link import Link
from .looking import Looking
from .names import HELD, RUN, RUNS, TASK, here, holder_of
from .stored import FINISHED

TIME_TO_LIVE: Final = 15.0
"""Seconds after its last heartbeat from which on a process counts as dead."""

_BEATS: Final = 4
"""How many heartbeats a process has in that time."""

_TICK: Final = 1.0
"""Seconds between two looks at the chores."""

_TIDY: Final = 60.0
"""Seconds between two looks for finished runs that are too old."""

_log: Final = logging.getLogger("fastapi_chain")


class Keeper:
    """Keeps this process alive in the eyes of the others, and takes over from the dead."""

    def __init__(
        self,
        link: Link,
        process: str,
        *,
        works: bool,
        chores: Iterable[Callable[[], None]] = (),
        history: int = 1000,
        time_to_live: float = TIME_TO_LIVE,
    ) -> None:
        """Prepare to keep *process*.

        Args:
            link: The database.
            process: The name of this process.
            works: Whether runs run in this process.
            chores: What else is to be done at each beat.
            history: How many finished runs are kept.
            time_to_live: Seconds after which a silent process counts as dead.
        """
        self._link = link
        self._process = process
        self._works = works
        self._chores = tuple(chores)
        self._history = history
        self._time_to_live = time_to_live
        self._place = here()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._tidied = 0.0
        self._beaten = 0.0

    def start(self) -> None:
        """Beat at once, then in a thread of its own: a loop that is busy must not look dead.

        The first look comes at once as well: after a restart on the same machine nobody has to wait for a time-out.
        """
        self.beat()
        self.take_over()
        self._thread = threading.Thread(target=self._run, name="fastapi-chain-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and let others know: nobody need wait."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        # If the database is away, they find out by themselves.
        with suppress(EngineUnavailable):
            with self._link.writing() as connection:
                connection.execute(sa.delete(processes).where(processes.c.id == self._process))
            self.let_go([self._process])

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            pause = min(_TICK, self._time_to_live / _BEATS)
            try:
                self._tick()
            except EngineUnavailable as error:
                _log.warning("engine %s does not answer: %s", self._link.database.shown, error.reason)
            except Exception:  # noqa: BLE001
                # Whatever it is, the next beat must come.
                _log.exception("the keeper of engine %s met an error", self._link.database.shown)

    def _tick(self) -> None:
        for chore in self._chores:
            chore()
        if time.monotonic() - self._beaten >= self._time_to_live / _BEATS:
            self.beat()
            self.take_over()

    def beat(self) -> None:
        """Be alive."""
        self._beaten = time.monotonic()
        clock = self._link.database.clock
        with self._link.writing() as connection:
            values = {"place": self._place, "pid": os.getpid(), "seen": clock}
            known = connection.execute(sa.update(processes).where(processes.c.id == self._process).values(values))
            if not known.rowcount:
                connection.execute(sa.insert(processes).values(id=self._process, **values))

    def take_over(self) -> None:
        """See to the runs of the dead."""
        dead = self._dead()
        if dead:
            self.let_go(dead)
        if self._works and time.monotonic() - self._tidied > _TIDY:
            self._tidied = time.monotonic()
            self._tidy()

    def _dead(self) -> list[str]:
        """Return the processes that have runs and do not live."""
        active = sa.and_(workflows.c.name.in_((RUN, TASK)), workflows.c.status == "PENDING")
        held = sa.and_(workflows.c.status == "ENQUEUED", workflows.c.queue_name.startswith(HELD))
        with self._link.reading() as connection:
            owners = set(connection.execute(sa.select(workflows.c.executor_id).where(active).distinct()).scalars())
            queues = connection.execute(sa.select(workflows.c.queue_name).where(held).distinct()).scalars()
            owners |= {holder_of(queue).process for queue in queues}
            now = connection.execute(sa.select(self._link.database.clock)).scalar_one()
            alive = {row.id: row for row in connection.execute(sa.select(processes))}
        return sorted(
            owner for owner in owners - {self._process} if owner and self._is_dead(alive.get(owner), float(now))
        )

    def _is_dead(self, found: "sa.Row[tuple[str, str, int, float]] | None", now: float) -> bool:
        if found is None or now - found.seen > self._time_to_live:
            return True
        return found.place == self._place and not _runs(found.pid)

    def let_go(self, dead: Sequence[str]) -> None:
        """Put back on their queues what *dead* processes had, and see to the runs whose request died with them.

        Of these, what was sure begins, and what was not ends as `unconfirmed`. Two who do it at once do no harm:
        whoever comes second finds nothing.
        """
        with self._link.writing() as connection:
            connection.execute(
                sa.update(workflows)
                .where(
                    workflows.c.status == "PENDING",
                    workflows.c.executor_id.in_(dead),
                    workflows.c.name.in_((RUN, TASK)),
                )
                .values(
                    status="ENQUEUED",
                    # Without its owner, no checkpoint of a process that was only asleep is taken any more.
                    owner_xid=None,
                    started_at_epoch_ms=None,
                    queue_name=sa.func.coalesce(workflows.c.queue_name, RUNS),
                )
            )
            held = sa.select(workflows.c.queue_name).where(
                workflows.c.status == "ENQUEUED", workflows.c.queue_name.startswith(HELD)
            )
            for queue in set(connection.execute(held).scalars()):
                holder = holder_of(queue)
                if holder.process in dead:
                    values = (
                        {"queue_name": RUNS}
                        if holder.sure
                        else {"status": "CANCELLED", "completed_at": self._link.now_ms}
                    )
                    connection.execute(
                        sa.update(workflows)
                        .where(workflows.c.queue_name == queue, workflows.c.status == "ENQUEUED")
                        .values(values)
                    )

    def _tidy(self) -> None:
        """Delete finished runs that are too many, the oldest first."""
        finished = (
            sa.select(workflows.c.workflow_uuid)
            .where(workflows.c.name == RUN, workflows.c.status.in_(FINISHED))
            .order_by(workflows.c.completed_at.desc())
            .offset(self._history)
            .limit(1000)
        )
        with self._link.reading() as connection:
            old = list(connection.execute(finished).scalars())
        Looking(self._link).forget(old)


def _runs(pid: int) -> bool:
    """Whether a process of that number runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
