"""Chains: from targets and endpoints to a checked plan, and to the request for a run."""

import asyncio
import gc
import logging
import pickle
import textwrap
from dataclasses import replace
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request, UploadFile
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_chain import (
    DeclarationError,
    EngineError,
    InvalidChain,
    MissingInput,
    QueueFull,
    Registry,
    UnknownInput,
    chain,
    chains,
    default_registry,
    install,
    task,
)
from fastapi_chain.engines.here import set_engine
from fastapi_chain.engines.history import History
from fastapi_chain.engines.memory import MemoryEngine

HERE = "tests/unit/test_chains.py"


def text(shown: str) -> str:
    """Return *shown* without its indentation."""
    return textwrap.dedent(shown).strip("\n")


def problems(made) -> list[str]:
    """Return what is wrong with a chain."""
    with pytest.raises(InvalidChain) as caught:
        made.check()
    return [str(problem) for problem in caught.value.problems]


def first_lines(made) -> list[str]:
    """Return the first lines of what is wrong with a chain."""
    return [problem.splitlines()[0] for problem in problems(made)]


# ----------------------------------------------------------------------------------------------------------------------
# What a chain is
# ----------------------------------------------------------------------------------------------------------------------


def test_a_chain_is_planned_once():
    """The plan is made when it is first asked for, and stays."""
    save = task(name="save")(lambda raw: 1)
    made = chain(save)
    assert repr(made) == f"<Chain 'save' {made.source.at}>"
    made.check()
    assert made.plan is made.plan
    assert made.plan.names == ("save",)


def test_the_name_of_a_chain():
    """A chain is called by its own name, else by its first endpoint's, else by its targets'; its plan says so."""
    save = task(name="save")(lambda: 1)
    made = chain(save, "save")
    assert (made.name, made.plan.chain) == ("save+save", "save+save")

    @made
    async def ingest() -> None: ...

    @made
    def other() -> None: ...

    assert (made.name, made.plan.chain, len(made.endpoints)) == ("ingest", "ingest", 2)


def test_a_chain_lives_as_long_as_its_endpoint():
    """A chain that nobody but its endpoint refers to is known as long as that is there."""
    save = task(name="save")(lambda: 1)

    @chain(save)
    async def lonely() -> None: ...

    gc.collect()
    assert [made.name for made in chains.all_chains if made.name == "lonely"] == ["lonely"]
    del lonely
    gc.collect()
    assert [made.name for made in chains.all_chains if made.name == "lonely"] == []


def test_a_chain_is_no_decorator_for_anything_else():
    """What is no function is refused where the decorator stands."""
    made = chain(task(name="save")(lambda: 1))
    with pytest.raises(DeclarationError) as caught:
        made("ingest")
    assert str(caught.value) == text(f"""
        @chain got 'ingest', which is no endpoint.
            declared at   {made.source.at}
        Fix: put @chain(...) directly above the `def` of an endpoint, below @app.post(...)
        See errors#declaration
    """)


def test_the_local_names_of_an_endpoint():
    """An endpoint made in a function may use that function's names in postponed annotations."""

    class Order: ...

    @chain(task(name="save")(lambda order: 1))
    async def ingest(order: "Annotated[Order, Depends(lambda: 1)]") -> "Order": ...

    # Chains of other tests may bear its name, and live until the garbage collector comes by.
    (endpoint,) = [found for made in chains.all_chains for found in made.endpoints if found.wrapper is ingest]
    assert endpoint.describe().gives == {"order": Order}


# ----------------------------------------------------------------------------------------------------------------------
# Targets
# ----------------------------------------------------------------------------------------------------------------------


def test_unknown_targets():
    """Every name that nobody bears is told, along with what is wrong with the others."""
    save = task(name="save", after=["nope"])(lambda: 1)
    made = chain("sav", save, "index", name="shop")
    at = made.source.at
    assert problems(made) == [
        text(f"""
            Chain 'shop' is made of 'sav', but there is no such task.
                declared at   {at}
                tasks known   save
            Fix, one of:
              - write chain("save")
              - import the module that defines 'sav' before the app starts
            See errors#unknown-task
        """),
        text(f"""
            Chain 'shop' is made of 'index', but there is no such task.
                declared at   {at}
                tasks known   save
            Fix: import the module that defines 'index' before the app starts
            See errors#unknown-task
        """),
        text(f"""
            Task 'save' runs after 'nope', but chain 'shop' has no such task.
                declared at   {save.spec.source.at}
                tasks known   save
            Fix: import the module that defines 'nope' before the app starts
            See errors#unknown-task
        """),
    ]


def test_no_tasks_at_all():
    """A chain of an empty registry has nothing to run."""
    made = chain(Registry("orders"), name="shop")
    assert problems(made) == [
        text(f"""
            Chain 'shop' has no tasks.
                declared at   {made.source.at}
            Fix: name a task
            See errors#plan
        """)
    ]


def test_a_registry_without_its_undos():
    """A whole registry is all that is to be done, not what would take that back; named, an undo is a task like any."""
    orders = Registry("orders")
    refund = orders.task(name="refund")(lambda charge=None: 1)
    orders.task(name="charge", undo=refund)(lambda: 1)
    assert chain(orders).plan.names == ("charge",)
    assert chain(orders, refund).plan.names == ("charge", "refund")


def test_a_registry_is_taken_once():
    """A task that comes into a registry after a chain of all of it has been checked is refused.

    A check that fails does not count.
    """
    made = chain(name="all")
    task(name="save", after=["nope"])(lambda: 1)
    assert len(problems(made)) == 1
    task(name="nope")(lambda: 1)
    assert made.plan.names == ("nope", "save")
    with pytest.raises(
        DeclarationError, match="Task 'late' comes too late: chain 'all' takes all of registry 'default'"
    ):
        task(name="late")(lambda: 1)


def test_a_reload_is_planned_anew():
    """A chain runs what was declared last, also if it refers to a task of before."""

    def declare(value):
        @task
        def save() -> int:
            return value

        return save

    made = chain(declare(1))
    assert made.plan.nodes[0].spec.fn() == 1
    declare(2)
    assert made.plan.nodes[0].spec.fn() == 2


# ----------------------------------------------------------------------------------------------------------------------
# All problems at once
# ----------------------------------------------------------------------------------------------------------------------


def shop():
    """Return an app whose chain has everything wrong with it that can be, and its runtime."""
    app = FastAPI()

    def get_session():
        yield "session"

    @task
    async def clean(raw: int) -> int: ...

    @task(after=[clean], output="order")
    async def price(clean: str, session: str) -> int: ...

    @task(after=[price])
    async def ship(order: int, address: str, file: bytes) -> None: ...

    @app.post("/orders")
    @chain(ship, key="{ordr}")
    async def checkout(
        raw: str, order: int, session: Annotated[str, Depends(get_session)], file: UploadFile, user: int
    ) -> None: ...

    return install(app), {made.name: made.spec.source.at for made in (clean, price, ship)} | {
        "checkout": f"{HERE}:{checkout.__wrapped__.__code__.co_firstlineno}"
    }


def test_all_problems_at_once():
    """At start-up all that is wrong with a chain is told, with the route of its endpoint, and survives a pickle."""
    runtime, at = shop()
    with pytest.raises(InvalidChain) as caught:
        runtime.check()
    expected = text(f"""
        The chains of this app cannot run: 7 problems.

        1. Task 'clean' returns int, but task 'price' takes 'clean' as str.
               returned   clean(...) -> int   {at["clean"]}
               taken      price(clean: str)   {at["price"]}
           Fix, one of:
             - take int in 'price'
             - return str in 'clean'
           See errors#type-mismatch

        2. POST /orders starts a chain that needs 'address', but endpoint 'checkout' does not give it.
               address: str     needed by 'ship'   {at["ship"]}
               endpoint gives   raw, order, user   {at["checkout"]}
           Fix, one of:
             - add a parameter to the endpoint: address: str
             - return it, and say so: @chain(..., returns="address")
           See errors#missing-input

        3. Task 'price' takes 'session', the value of a dependency with yield, which is closed before the task starts.
               given by   checkout   {at["checkout"]}
               taken by   price      {at["price"]}
           Fix, one of:
             - open it in the task: session: Annotated[..., Depends(...)]
             - hand on an id or a pydantic model instead
           See errors#closed-input

        4. Task 'ship' takes 'file', an UploadFile, which is closed before the task starts.
               given by   checkout   {at["checkout"]}
               taken by   ship       {at["ship"]}
           Fix, one of:
             - read it in the endpoint and return what it held: @chain(..., returns="file")
             - store it in the endpoint and hand on its path
           See errors#closed-input

        5. 2 sources provide 'order', and task 'ship' does not say which one it wants.
               wanted by     ship                {at["ship"]}
               provided by   price               {at["price"]}
               provided by   endpoint checkout   {at["checkout"]}
           Fix, one of:
             - choose one: order: Annotated[..., From(price)]
             - give one of them another output name: @task(output="order_2")
             - give the input another name than 'order'
           See errors#ambiguous-producer

        6. Endpoint 'checkout' gives 'raw' as str, but task 'clean' takes it as int.
               given   checkout(raw: str)   {at["checkout"]}
               taken   clean(raw: int)      {at["clean"]}
           Fix, one of:
             - take str in 'clean'
             - declare raw: int in 'checkout'
           See errors#type-mismatch

        7. Chain 'checkout' uses 'ordr' in key, but it has no such input.
               declared at   {at["checkout"]}
               inputs        address, file, order, raw, session, user
           Fix: write {{order}}
           See errors#plan

    """)
    assert str(caught.value) == expected
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.chain, len(copy.problems)) == (expected, None, 7)


def test_what_two_endpoints_lack():
    """Each endpoint of a chain is checked; what is wrong in a task is told once."""
    charge = task(name="charge")(lambda: 1)
    send = task(name="send")(lambda charge, order_id: 1)
    made = chain(send, charge)

    @made
    async def one(order_id: int) -> None: ...

    @made
    async def two(charge: int) -> None: ...

    @made
    async def three() -> None: ...

    assert first_lines(made) == [
        "Task 'send' takes 'charge', but task 'charge' does not come before it.",
        "Endpoint 'two' starts a chain that needs 'order_id', but does not give it.",
        "Endpoint 'three' starts a chain that needs 'order_id', but does not give it.",
    ]


def test_an_endpoint_that_comes_later():
    """A checked chain is checked again when another endpoint is put under it; its plan stays."""
    made = chain(task(name="save")(lambda raw: 1), name="shop")

    @made
    async def one(raw: int) -> None: ...

    plan = made.plan

    @made
    async def two(raw: int) -> None: ...

    assert made.plan is plan

    @made
    async def three() -> None: ...

    assert first_lines(made) == ["Endpoint 'three' starts a chain that needs 'raw', but does not give it."]


def test_templates_without_an_endpoint():
    """Without an endpoint, templates can use the chain's inputs."""
    save = task(name="save")(lambda raw, limit=3: 1)
    chain(save, key="{raw}-{limit}").check()
    made = chain(save, key="{row}", tags={"who": "{user}"}, name="shop")
    assert problems(made) == [
        text(f"""
            Chain 'shop' uses 'row' in key, but it has no such input.
                declared at   {made.source.at}
                inputs        limit, raw
            Fix: write {{raw}}
            See errors#plan
        """),
        text(f"""
            Chain 'shop' uses 'user' in tags['who'], but it has no such input.
                declared at   {made.source.at}
                inputs        limit, raw
            Fix: add a parameter to the endpoint: user: ...
            See errors#plan
        """),
    ]
    assert problems(chain(task(name="bare")(lambda: 1), key="{a}", name="b"))[0].splitlines()[2] == (
        "    inputs        none"
    )


def test_templates_of_an_unknown_chain():
    """What a template uses may be an input of a task that is not known."""
    made = chain(task(name="save", after=["nope"])(lambda: 1), "gone", key="{row}", name="shop")
    assert first_lines(made) == [
        "Chain 'shop' is made of 'gone', but there is no such task.",
        "Task 'save' runs after 'nope', but chain 'shop' has no such task.",
    ]


# ----------------------------------------------------------------------------------------------------------------------
# What a chain runs on
# ----------------------------------------------------------------------------------------------------------------------


def test_a_dependency_that_fastapi_refuses():
    """What FastAPI says against a dependency is told at start-up, for tasks and undos."""

    def get_session() -> int: ...

    def refund(db: Annotated[int, Depends(get_session)] = Depends(get_session)): ...

    @task(undo=refund)
    def save(db: Annotated[int, Depends(get_session)] = Depends(get_session)): ...

    @task
    def index(db: Annotated[int, Depends(get_session)]): ...

    said = "Cannot specify `Depends` in `Annotated` and default value together for 'db'"
    assert problems(chain(save, index)) == [
        text(f"""
            FastAPI refuses the dependencies of task {name!r}: {said}
                declared at   {place}
            See errors#plan
        """)
        for name, place in (("save", save.spec.source.at), ("refund", save.spec.undo.source.at))
    ]


def test_what_needs_a_durable_engine():
    """What only a durable engine can do is told where the engine is known to be another."""
    save = task(name="save", queue="gpu")(lambda: 1)
    made = chain(save, delay=60, priority=1, cron="0 6 * * *", name="shop")
    made.check()
    made.check(engine="sqlite")
    with pytest.raises(InvalidChain) as caught:
        made.check(engine="memory")
    assert [str(problem) for problem in caught.value.problems] == [
        text(f"""
            {who} has {option}=, which needs a durable engine: engine 'memory' forgets what has not begun.
                declared at   {place}
            Fix, one of:
              - install(app, engine="sqlite:///chains.db")
              - leave out {option}=
            See errors#plan
        """)
        for who, option, place in (
            ("Chain 'shop'", "delay", made.source.at),
            ("Chain 'shop'", "priority", made.source.at),
            ("Chain 'shop'", "cron", made.source.at),
            ("Task 'save'", "queue", save.spec.source.at),
        )
    ]
    with pytest.raises(InvalidChain):
        asyncio.run(made.start())


def test_a_chain_that_starts_by_itself():
    """Nobody gives inputs to a chain that starts by itself."""
    made = chain(task(name="save")(lambda raw, limit=3: 1), cron="0 6 * * *", name="nightly")
    assert problems(made) == [
        text(f"""
            Chain 'nightly' starts by itself, so nobody gives it 'raw'.
                declared at   cron='0 6 * * *'   {made.source.at}
            Fix: give it a default: raw: ... = ...
            See errors#plan
        """)
    ]


def test_a_thread_cannot_be_stopped(caplog):
    """A time-out of a plain function is warned of, once."""

    @task(timeout=2.5)
    def slow() -> None: ...

    @task(timeout=2.5)
    async def quick() -> None: ...

    made = chain(slow, quick)
    made.check()
    made.check(engine="memory")
    said = (
        "task 'slow' is a plain def with timeout=2.5: a thread cannot be stopped, so it is reported as timed out "
        f"and runs on to its end ({slow.spec.source.at})"
    )
    assert caplog.record_tuples == [("fastapi_chain", logging.WARNING, said)]


class Base(DeclarativeBase):
    """The tables of a shop."""


class User(Base):
    """One that is mapped."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)


def get_user() -> User: ...


def test_orm_objects_are_bound_to_their_session(caplog):
    """An endpoint that hands on an ORM object, in a list or as its return value, is warned of, once."""
    made = chain(task(name="save")(lambda user, users, order, limit=3: 1), returns="order", name="shop")

    @made
    async def one(
        user: Annotated[User, Depends(get_user)], users: Annotated[list[User | None], Depends(get_user)], limit: int
    ) -> User: ...

    made.check()

    @made
    async def two(user: int, users: int) -> None: ...

    made.check()
    place = f"{HERE}:{one.__wrapped__.__code__.co_firstlineno}"
    assert [record.getMessage() for record in caplog.records] == [
        f"endpoint 'one' hands {name!r}, a User, to chain 'shop': an ORM object is bound to the request's session, "
        f"which is closed when the run begins; hand on its id or a pydantic model ({place})"
        for name in ("user", "users", "order")
    ]


# ----------------------------------------------------------------------------------------------------------------------
# Runs by hand
# ----------------------------------------------------------------------------------------------------------------------


def adding():
    """Return a task that adds up its inputs."""

    @task
    async def total(a: int, b: int = 10) -> int:
        return a + b

    return total


def test_run_and_start():
    """`run` returns a finished run, `start` one that goes on."""

    async def main():
        total = adding()
        made = chain(total)
        finished = await made.run(a=1)
        started = await made.start(a=1, b=2)
        state = started.done
        await started.wait()
        return finished[total], state, started[total]

    assert asyncio.run(main()) == (11, False, 3)


def test_inputs_by_hand():
    """What is no input, and what is missing, is told before anything runs."""
    made = chain(adding(), name="shop", key="{a}")
    at = made.plan.nodes[0].spec.source.at
    with pytest.raises(UnknownInput) as unknown:
        asyncio.run(made.start(a=1, c=2))
    assert str(unknown.value) == text("""
        Chain 'shop' has no input 'c'.
            it takes   a, b
        Fix: leave out c=...
        See errors#unknown-input
    """)
    with pytest.raises(MissingInput) as missing:
        asyncio.run(made.run(b=1))
    assert str(missing.value) == text(f"""
        Chain 'shop' needs 'a', but was started without it.
            a: int   needed by 'total'   {at}
            given    b
        Fix: start(a=...)
        See errors#missing-input
    """)


def test_keys_and_tags():
    """Templates see the inputs as given, else their defaults; what only a template names can be given as well."""
    made = chain(adding(), key="{a}-{b}-{c}", tags={"who": "{c.real}"}, name="shop")

    @made
    async def ingest(a: int, c: complex = 0) -> None: ...

    async def main():
        run = await made.start(a=1, c=2 + 1j)
        again = await made.start(a=1, b=10, c=2 + 1j)
        other = await made.run(a=1, b=11, c=2)
        await run.wait()
        return run.id == again.id, run.tags, other.id == run.id

    assert asyncio.run(main()) == (True, {"who": "2.0"}, False)


def test_a_full_queue():
    """More runs than may be pending are refused."""

    async def main():
        made = chain(adding(), max_pending=1, name="shop")
        run = await made.start(a=1)
        with pytest.raises(QueueFull) as caught:
            await made.start(a=1)
        await run.wait()
        await made.run(a=1)
        return str(caught.value)

    assert asyncio.run(main()).startswith("Chain 'shop' has 1 run queued or running, as many as it may have.")


def test_a_full_engine():
    """More runs than an engine takes in all are refused, whatever the chain."""

    async def main():
        loop = asyncio.get_running_loop()
        engine = MemoryEngine(kept=History(10))
        engine.max_pending = 1
        set_engine(loop, engine)
        made, other = chain(adding(), name="shop"), chain("total", name="other")
        try:
            run = await made.start(a=1)
            with pytest.raises(QueueFull) as caught:
                await other.start(a=1)
            await run.wait()
            await other.run(a=1)
        finally:
            set_engine(loop, None)
        return caught.value

    full = asyncio.run(main())
    assert (full.chain, full.max_pending) == (None, 1)


def test_what_an_endpoint_gives():
    """What an endpoint has is handed on as far as the chain takes it; without its return value there is no run."""
    made = chain(adding(), returns="a", deadline=3.0, name="shop")

    @made
    async def ingest(b: int, request: Request): ...

    (endpoint,) = made.endpoints
    blueprint = made._blueprint
    request = blueprint.request(endpoint, {"a": 1, "b": 2, "request": 3})
    assert (request.values, request.deadline) == ({"a": 1, "b": 2}, 3.0)
    with pytest.raises(MissingInput) as caught:
        blueprint.request(endpoint, {"b": 2})
    assert caught.value.problem() == "Endpoint 'ingest' starts a chain that needs 'a', but does not give it."
    assert blueprint.checked
    assert "ingest" not in default_registry.tasks


def test_what_only_a_durable_engine_is_told():
    """A run is asked for with its delay and its priority, for the engine that can honour them."""
    made = chain(adding(), delay=60.0, priority=3)
    request = made._blueprint.asked("sqlite", {"a": 1})
    assert (request.delay, request.priority, request.deadline, request.counted) == (60.0, 3, None, False)


def test_a_session_needs_a_durable_engine():
    """A run in memory cannot be part of anybody's transaction."""
    with pytest.raises(EngineError) as caught:
        asyncio.run(chain(adding()).start(session=object(), a=1))
    assert str(caught.value) == text("""
        Engine 'memory' cannot store a run in a session's transaction.
        Fix, one of:
          - install(app, engine="sqlite:///chains.db")
          - leave out session=...
        See errors#engine
    """)


def test_an_input_called_session():
    """`start()` has a `session=` of its own, so it says so before anything runs; `run()` takes such an input."""

    @task
    async def greet(session: str) -> str:
        return session

    @task
    async def maybe(session: str = "none") -> str:
        return session

    made = chain(greet, name="shop")
    at = made.plan.nodes[0].spec.source.at
    wrong = text(f"""
        Chain 'shop' has an input 'session', which start() cannot be given: its session=... is the database session that stores the run.
            needed by   greet   {at}
        Fix, one of:
          - rename the parameter in 'greet'
          - run it here, and wait for its end: await chain.run(session=...)
        See errors#plan
    """)
    for given in ({"session": "s1"}, {}):
        with pytest.raises(InvalidChain) as caught:
            asyncio.run(made.start(**given))
        assert [str(problem) for problem in caught.value.problems] == [wrong]
    assert asyncio.run(made.run(session="s1"))[greet] == "s1"

    async def left_out() -> str:
        run = await chain(maybe).start()
        await run.wait()
        return run[maybe]

    assert asyncio.run(left_out()) == "none"
    with pytest.raises(InvalidChain):
        asyncio.run(chain(maybe).start(session="s1"))


def test_an_altered_plan():
    """Within the block another plan is run; afterwards it is the chain's own again, whatever happened."""
    made = chain(adding())
    own = made.plan
    other = replace(own)
    with pytest.raises(ZeroDivisionError), made.altered(lambda plan: other if plan is own else plan):
        assert made.plan is other
        _ = 1 / 0
    assert made.plan is own


def test_a_draft():
    """A chain that cannot run has a plan all the same, as far as that goes, and the problems beside it."""
    draft = chains.draft_of(chain(task(name="save", after=["nope"])(lambda: 1), "gone", name="shop"))
    assert draft.plan.names == ("save",)
    assert [problem.wanted for problem in draft.problems] == ["gone", "nope"]
    assert not draft.sure
