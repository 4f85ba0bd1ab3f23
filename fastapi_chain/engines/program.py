"""A plan, compiled for one app: every task a `Step`, and the stretch that the fast path may run in a row."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final
from weakref import WeakKeyDictionary

from fastapi_chain._threads import Hopper
from fastapi_chain.context import running
from fastapi_chain.declare.signature import awaitable
from fastapi_chain.errors import TaskTimeout
from fastapi_chain.execute.call import Call, Slots, make_call, make_injected_call
from fastapi_chain.execute.gate import Gate, gate_of
from fastapi_chain.execute.hidden import enter_thread
from fastapi_chain.execute.inject import compile_injection
from fastapi_chain.execute.retry import policy_of
from fastapi_chain.execute.unit import Step
from fastapi_chain.execute.validate import Check, check_of, exact_type
from fastapi_chain.plan import Plan
from fastapi_chain.plan.nodes import Fill
from fastapi_chain.spec import EMPTY, ParamSpec, TaskSpec

CHUNK: Final = 128
"""How many tasks the fast path runs before everybody else on the loop gets a turn: 0.1 ms of tasks that do nothing."""

Straight = tuple[int, Call, type, Check]
"""One task on the straight line: its number, what to call, the exact type of its output, the check for any other."""


class Gates:
    """The gates of one engine: a limit holds over all its runs, whatever the chain."""

    def __init__(self) -> None:
        """Start without any."""
        self._gates: WeakKeyDictionary[TaskSpec, Gate | None] = WeakKeyDictionary()

    def of(self, spec: TaskSpec) -> Gate | None:
        """Return the one gate of *spec*; None if it needs none."""
        if spec not in self._gates:
            self._gates[spec] = gate_of(spec)
        return self._gates[spec]


class Program:
    """The steps of a plan."""

    __slots__ = ("line", "steps", "undos")

    def __init__(self, plan: Plan, gates: Gates, hop: Hopper, overrides: Mapping[object, object]) -> None:
        """Compile *plan*.

        Args:
            plan: What to compile.
            gates: The gates that its tasks pass.
            hop: Runs sync callables in a thread.
            overrides: `app.dependency_overrides`.
        """
        compiler = _Compiler(gates, hop, overrides)
        self.steps = tuple(
            compiler.step(node.spec, node.index, node.fills, node.signature.returns) for node in plan.nodes
        )
        self.undos = {
            node.index: compiler.step(node.undo.spec, node.index, node.undo.fills, EMPTY)
            for node in plan.nodes
            if node.undo is not None
        }
        self.line = _chunks(plan, self.steps)


def _chunks(plan: Plan, steps: tuple[Step, ...]) -> tuple[tuple[Straight, ...], ...]:
    """Return the light async tasks at the head of the order, in chunks."""
    head: list[Straight] = []
    for step, conditional in zip(steps, plan.conditional, strict=True):
        if not step.light or step.threaded or conditional:
            break
        head.append((step.index, step.call, step.exact, step.check))
    return tuple(tuple(head[i : i + CHUNK]) for i in range(0, len(head), CHUNK))


class _Compiler:
    """Makes steps."""

    def __init__(self, gates: Gates, hop: Hopper, overrides: Mapping[object, object]) -> None:
        self._gates = gates
        self._hop = hop
        self._overrides = overrides

    def step(self, spec: TaskSpec, index: int, fills: tuple[Fill, ...], returns: object) -> Step:
        """Compile one task."""
        call, threaded = self._call(spec, fills)
        if spec.timeout is not None and spec.is_async:
            call = _timed(call, spec.timeout)
        return Step(
            spec,
            index,
            call,
            threaded=threaded,
            detached=not threaded and not spec.is_async,
            exact=exact_type(returns),
            check=check_of(returns, spec.source),
            gate=self._gates.of(spec),
            policy=policy_of(spec),
        )

    def _call(self, spec: TaskSpec, fills: tuple[Fill, ...]) -> tuple[Call, bool]:
        """Return what one attempt calls, and whether that belongs in a thread."""
        params: tuple[ParamSpec, ...] = tuple(fill.param for fill in fills if fill.kind == "injected")
        injection = compile_injection(params, task=spec.source, overrides=self._overrides)
        fn = awaitable(spec.fn) if spec.is_async else spec.fn
        if injection is None:
            return make_call(fn, fills), not spec.is_async
        call = make_injected_call(fn, fills)
        if spec.is_async:
            return injection.wrap_async(call, self._hop), False  # type: ignore[arg-type]  # an async function's call
        if injection.is_sync:
            # Everything in one hop: a connection that is opened in the thread is used and closed there.
            return injection.wrap_sync(call), True
        hop = self._hop

        async def in_thread(slots: Slots, injected: Mapping[str, object]) -> object:
            return await hop(_entering, call, slots, injected)

        return injection.wrap_async(in_thread, hop), False


def _entering(
    call: Callable[[Slots, Mapping[str, object]], object], slots: Slots, injected: Mapping[str, object]
) -> object:
    """Call a `def` task in its thread, if it is still wanted."""
    enter_thread()
    return call(slots, injected)


def _timed(call: Call, seconds: float) -> Call:
    """Give each attempt of an async task *seconds*."""

    async def timed(slots: Slots) -> object:
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                return await call(slots)  # type: ignore[misc]  # an async task: the call gives an awaitable
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise _task_timeout(seconds) from error

    return timed


def _task_timeout(seconds: float) -> TaskTimeout:
    here = running.get()
    assert here is not None, "a task runs only below a worker, which says so"
    link = here.link()
    return TaskTimeout(task=link.task, seconds=seconds, attempt=link.attempt, max_attempts=link.max_attempts)
