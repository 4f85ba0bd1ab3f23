"""The options and targets of `chain(...)`: what is kept, and what is refused."""

import warnings

import pytest

from fastapi_chain import BadOption, CalledInsteadOfNamed, Registry, chain, default_registry, task

HERE = "tests/unit/test_chain_options.py"


def test_defaults():
    """A bare chain starts after the commit, without any limit."""
    options = chain().options
    assert (options.returns, options.start, options.deadline, options.key) == (None, "commit", None, None)
    assert (options.idempotent, options.tags, options.max_pending, options.expose_result) == (False, {}, None, False)
    assert (options.delay, options.priority, options.cron, options.durable) == (None, None, None, ())
    assert (list(options.fields()), options.caller) == ([], ())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("name", "checkout"),
        ("returns", "order"),
        ("start", "response"),
        ("deadline", 300),
        ("key", "order-{order.lines[0].sku}"),
        ("key", "all-at-once"),
        ("idempotent", True),
        ("idempotent", "{user.id}"),
        ("tags", {"order": "{order_id:03}"}),
        ("max_pending", 1),
        ("expose_result", True),
        ("delay", 0.5),
        ("priority", -1),
        ("cron", "0 6 * * *"),
    ],
)
def test_what_is_kept(option, value):
    """An option is kept as it is written."""
    made = chain(**{option: value})
    assert (made.name if option == "name" else getattr(made.options, option)) == value


WHOLE = "must be a whole number, 1 or more."
SECONDS = "must be seconds, more than 0."
TEMPLATE = "must be a template over the chain's inputs."
TEMPLATES = "must be templates over the chain's inputs, by name."
CALLER = "must be True, False or a template that names the caller."


@pytest.mark.parametrize(
    ("option", "value", "wanted", "fix"),
    [
        ("name", "", "must be a name.", '"checkout"'),
        ("name", 3, "must be a name.", '"checkout"'),
        ("returns", "an order", "must be the name of an input.", '"order"'),
        ("returns", 3, "must be the name of an input.", '"order"'),
        ("start", "now", "must be 'commit' or 'response'.", '"commit"'),
        ("deadline", 0, SECONDS, "300.0"),
        ("deadline", True, SECONDS, "300.0"),
        ("deadline", "300", SECONDS, "300.0"),
        ("key", 3, TEMPLATE, '"order-{order_id}"'),
        ("key", "{", TEMPLATE, '"order-{order_id}"'),
        ("key", "{}", TEMPLATE, '"order-{order_id}"'),
        ("key", "{0}", TEMPLATE, '"order-{order_id}"'),
        ("key", "{a:{}}", TEMPLATE, '"order-{order_id}"'),
        ("idempotent", 1, CALLER, '"{user.id}"'),
        ("idempotent", "{}", CALLER, '"{user.id}"'),
        ("tags", "order", TEMPLATES, '{"order": "{order_id}"}'),
        ("tags", {"order": 3}, TEMPLATES, '{"order": "{order_id}"}'),
        ("tags", {"order": None}, TEMPLATES, '{"order": "{order_id}"}'),
        ("tags", {3: "{order_id}"}, TEMPLATES, '{"order": "{order_id}"}'),
        ("tags", {"order": "{"}, TEMPLATES, '{"order": "{order_id}"}'),
        ("max_pending", 0, WHOLE, "1000"),
        ("max_pending", 1.5, WHOLE, "1000"),
        ("max_pending", True, WHOLE, "1000"),
        ("expose_result", 1, "must be True or False.", "True"),
        ("delay", -1, SECONDS, "60.0"),
        ("priority", 1.5, "must be a whole number.", "1"),
        ("priority", False, "must be a whole number.", "1"),
        ("cron", " ", "must be when it starts, as in a crontab.", '"0 6 * * *"'),
        ("cron", 6, "must be when it starts, as in a crontab.", '"0 6 * * *"'),
    ],
)
def test_what_an_option_must_be(option, value, wanted, fix):
    """A value that makes no sense is refused where the chain is made, with one that does."""
    with pytest.raises(BadOption) as caught:
        chain(**{option: value})
    name = value if option == "name" and value else "chain"
    assert str(caught.value) == (
        f"{option}={value!r} of chain {name!r} {wanted}\n"
        f"    declared at   {HERE}:{caught.tb.tb_lineno}\n"
        f"Fix: chain(..., {option}={fix})\n"
        "See errors#bad-option"
    )


def test_what_templates_use():
    """The names in templates are known, without what follows them, and those within a format."""
    options = chain(
        key="{a.b}-{c[d]}-{e:{f}}", tags={"who": "{user.id}", "none": "all"}, idempotent="{user.id}"
    ).options
    assert list(options.fields()) == [("key", "a"), ("key", "c"), ("key", "e"), ("key", "f"), ("tags['who']", "user")]
    assert options.caller == ("user",)


def test_what_needs_a_durable_engine():
    """The options that only a durable engine can honour are known."""
    assert chain(delay=60, priority=0, cron="0 6 * * *").options.durable == ("delay", "priority", "cron")


def test_targets():
    """A chain takes tasks, their names, and registries; none stand for all of the default registry."""
    orders = Registry("orders")
    save = task(name="save")(lambda: 1)
    task(name="index")(lambda: 1)
    orders.task(name="ship")(lambda: 1)
    assert [made.plan.names for made in (chain(save), chain("index", save), chain(orders), chain(orders, "index"))] == [
        ("save",),
        ("index", "save"),
        ("ship",),
        ("ship", "index"),
    ]
    assert chain().plan.names == ("save", "index")
    assert [made.name for made in (chain(save), chain("index", orders, save), chain(), chain(save, name="mine"))] == [
        "save",
        "index+orders+save",
        default_registry.name,
        "mine",
    ]


async def clean() -> None: ...


def plain() -> None: ...


BARE = (
    "must be tasks, their names, or registries; a bare @chain needs parentheses, "
    "and a plain function becomes a task through @task."
)


@pytest.mark.parametrize(
    ("target", "shown", "wanted", "fix"),
    [
        (3, "3", "must be tasks, their names, or registries.", "chain(save, notify)"),
        ("", "''", "must be tasks, their names, or registries.", "chain(save, notify)"),
        (plain, None, BARE, "@chain()"),
    ],
)
def test_what_is_no_target(target, shown, wanted, fix):
    """What is no target is refused; a function most likely comes from a bare `@chain`."""
    with pytest.raises(BadOption) as caught:
        chain(target)
    problem, _, *rest = str(caught.value).splitlines()
    assert problem.startswith("targets=")
    assert problem.endswith(f"of chain 'chain' {wanted}")
    assert shown is None or f"targets={shown} " in problem
    assert rest == [f"Fix: {fix}", "See errors#bad-option"]


def test_a_task_that_is_called_where_it_is_named():
    """The coroutines of tasks that were called are recognised and closed."""
    save = task(clean)
    with warnings.catch_warnings(record=True) as seen, pytest.raises(CalledInsteadOfNamed) as caught:
        warnings.simplefilter("always")
        chain(save(), save(), name="shop")
    assert str(caught.value) == (
        "chain() got the coroutine that clean() returned; it wants the task itself.\n"
        f"    written   chain(clean())   {HERE}:{caught.tb.tb_lineno}\n"
        "Fix: chain(clean)\n"
        "See errors#called-instead-of-named"
    )
    assert seen == []
