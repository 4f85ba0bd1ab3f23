"""What `@task` makes of a function, and what a registry does with it."""

import functools
import tempfile
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import pytest

from fastapi_chain import (
    BadOption,
    CalledInsteadOfNamed,
    DeclarationError,
    DuplicateTask,
    FanOut,
    From,
    GeneratorTask,
    MethodTask,
    Registry,
    Task,
    default_registry,
    task,
)

HERE = "tests/unit/test_declare.py"


def text(shown: str) -> str:
    """Return *shown* without its indentation."""
    return textwrap.dedent(shown).strip("\n")


def line_of(fn: object) -> int:
    """Return the line of a function, that of its first decorator."""
    return fn.__code__.co_firstlineno


class Mailer:
    """What methods of instances are tried with."""

    spec = "an attribute that a task has as well"

    def __init__(self, name: str = "mail") -> None:
        self.name = name
        self.spec = "its own"

    def send(self, to: str) -> str:
        """Send a mail."""
        return f"{self.name} to {to}"

    def __call__(self, to: str) -> str:
        return self.send(to)


# ----------------------------------------------------------------------------------------------------------------------
# What a task is
# ----------------------------------------------------------------------------------------------------------------------


def test_a_task_is_called_like_its_function():
    """Calling a task is calling its function; name, docstring and what was declared can be read."""

    @task(output="row_id", after=["clean"], retries=3)
    def save(text: str, *, times: int = 1) -> str:
        """Save it."""
        return text * times

    assert save("ab", times=2) == "abab"
    assert (save.name, save.output, save.after, save.spec.retries) == ("save", "row_id", ("clean",), 3)
    assert (save.__name__, save.__doc__) == ("save", "Save it.")
    assert repr(save) == f"<Task 'save' {HERE}:{line_of(save.__wrapped__)}>"
    assert default_registry["save"] is save


def test_the_ways_to_declare():
    """`@task`, `@task()`, `task(...)(fn)` and `task(fn, ...)` declare the same."""

    @task
    def a(): ...

    @task()
    def b(): ...

    c = task(name="c", after=[a])(lambda: None)
    d = task(lambda: None, name="d", after=[a])
    assert [type(made) for made in (a, b, c, d)] == [Task] * 4
    assert list(default_registry.tasks) == ["a", "b", "c", "d"]
    assert c.after == d.after == ("a",)


def test_a_shared_decorator():
    """What `task(...)` returns can be put above many functions."""
    careful = task(retries=3)

    @careful
    def one(order: int = From("order")): ...

    @careful
    def two(): ...

    assert [(made.name, made.spec.retries) for made in default_registry.tasks.values()] == [("one", 3), ("two", 3)]
    assert default_registry["two"] is two


def test_a_fan_out():
    """With `each=`, a task is a `FanOut`, in every way to declare it."""

    @task(each="lines")
    def ship(line: int) -> int:
        return line

    other = task(lambda line: line, name="other", each="lines")
    assert [type(ship), type(other)] == [FanOut, FanOut]
    assert ship(3) == 3
    assert repr(ship) == f"<FanOut 'ship' {HERE}:{line_of(ship.__wrapped__)}>"


@pytest.mark.parametrize(
    ("fn", "name", "line"),
    [
        # A bound method is called by its own name, and stands where that is written.
        (Mailer().send, "send", line_of(Mailer.send)),
        # An object that can be called has the name of its class.
        (Mailer(), "Mailer", line_of(Mailer.__call__)),
        # A partial has that of its function.
        (functools.partial(Mailer().send, "you"), "send", line_of(Mailer.send)),
        (functools.partial(Mailer()), "partial", line_of(Mailer.__call__)),
        # A function in a decorator that says what it wraps is that function.
        (functools.wraps(Mailer.send)(lambda to: to), "send", line_of(Mailer.send)),
    ],
)
def test_what_can_be_a_task(fn, name, line):
    """Methods of instances, partials, callable objects and decorated functions are tasks."""
    made = task(fn)
    assert (made.name, made.spec.source.at) == (name, f"{HERE}:{line}")
    assert made.spec.fn is fn


def test_functions_without_a_file():
    """A function written in C has no place but its module; one that was typed in has a file that is none."""
    assert task(len).spec.source.at == "<builtins>:1"
    names: dict[str, object] = {}
    exec(compile("def typed(): ...", "<stdin>", "exec"), names)
    assert task(names["typed"]).spec.source.at == "<stdin>:1"


def test_one_function_as_two_tasks():
    """A task can be declared once more under another name: it is the same function, as async as before."""

    @task
    async def clean(): ...

    again = task(name="again")(clean)
    assert again.spec.fn is clean.spec.fn
    assert (again.name, again.spec.is_async) == ("again", True)


def test_undo():
    """A plain function takes back an effect without retries; a task does with its own."""

    def refund(charge: int) -> None: ...

    @task(retries=3)
    def cancel(ship: int) -> None: ...

    charge = task(name="charge", undo=refund)(lambda: 1)
    ship = task(name="ship", undo=cancel)(lambda: 1)
    assert (charge.spec.undo.fn, charge.spec.undo.name, charge.spec.undo.retries) == (refund, "refund", 0)
    assert ship.spec.undo is cancel.spec
    assert "refund" not in default_registry.tasks


# ----------------------------------------------------------------------------------------------------------------------
# What is none
# ----------------------------------------------------------------------------------------------------------------------


def generator() -> Iterator[int]:
    yield 1


async def stream() -> AsyncIterator[int]:
    yield 1


class Rows:
    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    ("fn", "name", "line"),
    [
        (generator, "generator", line_of(generator)),
        (stream, "stream", line_of(stream)),
        (Rows(), "Rows", line_of(Rows.__call__)),
        (functools.partial(stream), "stream", line_of(stream)),
    ],
)
def test_generators(fn, name, line):
    """A generator is refused: calling it would run nothing."""
    with pytest.raises(GeneratorTask) as caught:
        task(fn)
    assert str(caught.value) == text(f"""
        Task {name!r} is a generator: calling it would run nothing.
            declared at   {HERE}:{line}
        Fix, one of:
          - return the value instead of yielding it
          - if the yield is there for clean-up, move it to a dependency: Annotated[..., Depends(...)]
        See errors#generator-task
    """)
    with pytest.raises(GeneratorTask):
        task(name="charge", undo=fn)(lambda: 1)


def test_what_a_decorator_makes_of_a_generator():
    """A decorator may make a list of what a generator yields: what it returns is what counts."""

    @task
    @functools.wraps(generator)
    def rows() -> list[int]:
        return list(generator())

    assert rows() == [1]


def test_methods_without_an_instance():
    """A method is refused in the body of its class, where nobody can call it."""

    def error(make) -> str:
        with pytest.raises(MethodTask) as caught:
            make()
        return str(caught.value)

    def method():
        class Shop:
            @task
            def save(self, order: int) -> int: ...

    def class_method():
        class Shop:
            @task
            @classmethod
            def save(cls, order: int) -> int: ...

    def unbound():
        task(Mailer.send)

    line = line_of(method)
    expected = text("""
        Task 'save' is a method of class 'Shop', so a chain has no 'self' to call it with.
            declared at   {place}
        Fix, one of:
          - decorate the method of an instance: save = task(Shop(...).save)
          - write a function that takes the instance: Annotated[Shop, Depends(...)]
        See errors#method-task
    """)
    assert error(method) == expected.format(place=f"{HERE}:{line + 2}")
    assert error(class_method) == expected.format(place=f"{HERE}:{line_of(class_method) + 2}")
    assert error(unbound).startswith("Task 'send' is a method of class 'Mailer'")


def test_functions_in_the_body_of_a_class():
    """Static methods, and functions that only look like methods, are functions."""

    class Shop:
        @task
        @staticmethod
        async def one(order: int) -> int: ...

        @staticmethod
        @task
        def two(order: int) -> int: ...

    def self_made(self): ...

    assert (default_registry["one"].spec.is_async, Shop.two.name, task(self_made).name) == (True, "two", "self_made")


async def called() -> None: ...


@pytest.mark.parametrize(
    ("make", "problem", "fixes"),
    [
        (
            lambda: task(called()),
            "@task got the coroutine that called() returned; it wants the function itself.",
            "Fix: @task above `async def called`",
        ),
        (
            lambda: task(Mailer),
            "Class 'Mailer' cannot be a task: calling it makes an instance.",
            "Fix, one of:\n  - write a function that makes it and returns it\n  - pass an instance that has __call__",
        ),
        (
            lambda: task("save"),
            "@task got 'save', which cannot be called.",
            "Fix: put @task directly above a function",
        ),
        (
            lambda: task(min),
            "Task 'min' does not say which parameters it takes.",
            "Fix: wrap it: def min_task(...): return min(...)",
        ),
    ],
)
def test_what_can_never_run(make, problem, fixes):
    """What is no function is refused, with the place of the decorator."""
    with pytest.raises(DeclarationError) as caught:
        make()
    place = f"{HERE}:{make.__code__.co_firstlineno}"
    assert str(caught.value) == f"{problem}\n    written at   {place}\n{fixes}\nSee errors#declaration"


def test_an_undo_for_each_item():
    """An undo cannot be a fan-out itself."""
    each = task(name="each", each="lines")(lambda line: line)
    with pytest.raises(
        BadOption, match="must be a function, or a task without each=: it is called for each item anyway"
    ):
        task(name="ship", undo=each)(lambda: 1)


def test_what_from_takes():
    """`From` takes a task or its name, and nothing else; it says what it refers to."""
    save = task(name="save")(lambda: 1)
    assert (repr(From(save)), repr(From("index"))) == ("From(save)", "From(index)")
    with pytest.raises(TypeError, match=r"^From\(\) takes a task or its name, not 3$"):
        From(3)


def test_a_task_that_is_called_in_from():
    """`From(clean())` is found where the task is declared, as far as no annotation is a string."""

    def annotated(a: Annotated[int, From(called())]): ...

    def default(a: int = From(called())): ...

    def keyword(*, a: int = From(called())): ...

    for fn in (annotated, default, keyword):
        with pytest.raises(CalledInsteadOfNamed) as caught:
            task(fn)
        assert str(caught.value) == text(f"""
            From() in task {fn.__name__!r} got the coroutine that called() returned; it wants the task itself.
                written   From(called())   {HERE}:{line_of(fn)}
            Fix: From(called)
            See errors#called-instead-of-named
        """)


# ----------------------------------------------------------------------------------------------------------------------
# Registries
# ----------------------------------------------------------------------------------------------------------------------


def test_a_registry_is_a_namespace():
    """A registry holds its tasks by name, in order; those of others are not its own."""
    orders = Registry("orders")

    @orders.task
    def save(): ...

    @task(registry=orders)
    def index(): ...

    assert dict(orders.tasks) == {"save": save, "index": index}
    assert (orders["save"], orders.get("nope"), dict(default_registry.tasks)) == (save, None, {})
    assert repr(orders) == "<Registry 'orders': 2 tasks>"
    with pytest.raises(KeyError, match="registry 'orders' has no task 'nope'"):
        orders["nope"]


def test_what_was_read_stays():
    """The tasks of a registry, once read, do not change."""
    orders = Registry("orders")
    seen = orders.tasks
    orders.task(name="save")(lambda: 1)
    assert (list(seen), list(orders.tasks)) == ([], ["save"])


def test_included_registries():
    """A registry has the tasks of those that it includes, and of those that they do, those declared later too."""
    shop, orders, mail = Registry("shop"), Registry("orders"), Registry("mail")
    shop.include(orders)
    orders.include(mail)
    shop.include(mail)  # by two ways, and the same
    send = mail.task(name="send")(lambda: 1)
    mail.include(shop)  # round and round
    save = orders.task(name="save", output="row")(lambda: 1)
    assert list(shop.tasks) == ["save", "send"]
    assert (shop["send"], shop.get("save"), shop.by_output()) == (send, save, {"row": [save], "send": [send]})


def duplicate(make) -> str:
    with pytest.raises(DuplicateTask) as caught:
        make()
    return str(caught.value)


def test_two_tasks_of_one_name():
    """The second task of a name is refused where it is declared, and the first one stays."""

    @task
    def save(): ...

    first = save

    def again():
        @task
        def save(): ...

    assert duplicate(again) == text(f"""
        Two tasks of registry 'default' are both called 'save'.
            first    {HERE}:{line_of(first.__wrapped__)}
            second   {HERE}:{line_of(again) + 1}
        Fix, one of:
          - rename one: @task(name="save_2")
          - if this is one file imported under two names, import it under one
        See errors#duplicate-task
    """)
    assert default_registry["save"] is first


def test_one_name_in_included_registries():
    """A name may come up once in all that a registry includes, whichever way and whenever it comes there."""
    shop, orders, mail = Registry("shop"), Registry("orders"), Registry("mail")
    shop.include(orders)
    shop.task(name="save")(lambda: 1)
    mail.task(name="save")(lambda: 1)
    first = "Two tasks of registry 'shop' are both called 'save'."
    # Declared further down, where nobody else bears the name.
    assert duplicate(lambda: orders.task(name="save")(lambda: 1)).startswith(first)
    # Included, directly or further down.
    assert duplicate(lambda: shop.include(mail)).startswith(first)
    assert duplicate(lambda: orders.include(mail)).startswith(first)
    # One task by two ways is one.
    pack = orders.task(name="pack")(lambda: 1)
    shop.include(orders)
    assert (list(shop.tasks), dict(orders.tasks)) == (["save", "pack"], {"pack": pack})


SHOP = """
def declare(task, version):
    @task
    def save() -> int:
        return version
    return save
"""


def load(task, version: int, *, file: str = "/shop/tasks.py", module: str = "shop.tasks", before: str = "") -> Task:
    """Execute the source of a module and return the task that it declares."""
    names = {"__name__": module}
    exec(compile(before + SHOP, file, "exec"), names)
    return names["declare"](task, version)


CELLS = Path(tempfile.gettempdir(), "ipykernel_77")
"""Where a notebook's kernel writes each cell."""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # A reloader reads the same file again.
        ({}, {}),
        # The file that was started is imported by its name as well.
        ({"module": "__main__"}, {"module": "shop"}),
        # What is typed in, or a cell of a notebook, has another file each time.
        ({"file": "<stdin>", "module": "__main__"}, {"file": "<stdin>", "module": "__main__", "before": "\n\n"}),
        ({"file": "<ipython-input-3-5f>"}, {"file": "<ipython-input-4-9a>", "before": "\n"}),
        ({"file": "<python-input-1>"}, {"file": "<python-input-2>"}),
        ({"file": str(CELLS / "1234.py")}, {"file": str(CELLS / "5678.py")}),
    ],
)
def test_a_reload_replaces(first, second):
    """A task that is read twice is one: the later takes the place of the earlier, also where that is referred to."""
    orders = Registry("orders")
    before = load(orders.task, 1, **first)
    reloads = Registry.reloads
    after = load(orders.task, 2, **second)
    assert (orders["save"], orders["save"]()) == (after, 2)
    assert orders.current(before.spec) is orders.current(after.spec) is after.spec
    assert Registry.reloads == reloads + 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # Another file, or another line of the same.
        ({}, {"file": "/shop/other.py"}),
        ({}, {"before": "\n"}),
        # A cell and a file.
        ({"file": "<stdin>"}, {}),
        ({}, {"file": "<stdin>"}),
    ],
)
def test_what_is_no_reload(first, second):
    """A task of the same name from another place is another one."""
    orders = Registry("orders")
    before = load(orders.task, 1, **first)
    assert duplicate(lambda: load(orders.task, 2, **second)).startswith("Two tasks of registry 'orders'")
    assert orders["save"] is before


def test_another_function_in_the_same_place():
    """A lambda in the place of a function is another task."""
    orders = Registry("orders")
    one, two = (lambda: 1, Mailer().send)
    orders.task(name="save")(one)
    assert duplicate(lambda: orders.task(name="save")(two))


def test_what_stands_for_a_task_that_is_gone():
    """A task that no registry knows any more, or another one of its name, stands for itself."""
    orders = Registry("orders")
    with orders.emptied():
        gone = load(orders.task, 1)
    assert orders.current(gone.spec) is gone.spec
    load(orders.task, 2, file="/shop/other.py")
    assert orders.current(gone.spec) is gone.spec


def test_an_emptied_registry():
    """Within the block a registry has nothing, includes nothing and takes everything; afterwards all is as before."""
    shop, orders = Registry("shop"), Registry("orders")
    shop.include(orders)
    kept = load(shop.task, 1)
    shop.close("chain")
    with shop.emptied() as emptied:
        assert (emptied, list(shop.tasks)) == (shop, [])
        load(shop.task, 2, file="/shop/other.py")
    assert (shop["save"], list(shop.tasks)) == (kept, ["save"])


def test_a_closed_registry():
    """A registry that a chain has taken as a whole takes no more tasks, nor do those it includes; it takes reloads."""
    shop, orders, mail = Registry("shop"), Registry("orders"), Registry("mail")
    shop.include(orders)
    load(orders.task, 1)
    shop.close("checkout")
    expected = text("""
        {what} comes too late: chain 'checkout' takes all of registry {registry!r}.
            declared at   {place}
        Fix: import the module that declares it before the app starts
        See errors#declaration
    """)

    def late(): ...

    for registry in (shop, orders):
        with pytest.raises(DeclarationError) as caught:
            registry.task(late)
        place = f"{HERE}:{line_of(late)}"
        assert str(caught.value) == expected.format(what="Task 'late'", registry=registry.name, place=place)
    with pytest.raises(DeclarationError) as caught:
        orders.include(mail)
    place = f"{HERE}:{caught.tb.tb_lineno}"
    assert str(caught.value) == expected.format(what="Registry 'mail'", registry="orders", place=place)
    assert load(orders.task, 2)() == 2
