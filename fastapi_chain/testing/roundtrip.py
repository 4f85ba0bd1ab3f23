"""Values that go through the text which a durable engine stores."""

from collections.abc import Callable
from dataclasses import replace

from fastapi_chain.declare.signature import awaitable
from fastapi_chain.engines.durable.schema import Schema
from fastapi_chain.errors import InvalidChain, UnserializableOutput
from fastapi_chain.execute.validate import check_of
from fastapi_chain.plan import Node, Plan


def through_text(inputs: dict[str, object]) -> Callable[[Plan], Plan]:
    """Return what makes a plan whose values go through text; the values of *inputs* are replaced at once.

    Raises, when it is applied:
        InvalidChain: A durable engine could not run the plan.
        UnserializableOutput: An input cannot be stored.
    """

    def alter(plan: Plan) -> Plan:
        schema = Schema(plan, "round trip")
        if schema.problems:
            raise InvalidChain(chain=plan.chain, problems=tuple(schema.problems))
        known = {name: value for name, value in inputs.items() if name in plan.input_names}
        inputs.update(schema.load_inputs(schema.dump_inputs(known)))
        return replace(plan, nodes=tuple(_stored(node, schema) for node in plan.nodes))

    return alter


def _stored(node: Node, schema: Schema) -> Node:
    """Return *node* with a function whose result goes through text."""
    spec = node.spec
    check = check_of(node.signature.returns, spec.source)

    def back(value: object) -> object:
        check(value)
        return schema.load(node.index, schema.dump(node.index, value))

    async def on_loop(*args: object, **kwargs: object) -> object:
        return back(await awaitable(spec.fn)(*args, **kwargs))

    def in_thread(*args: object, **kwargs: object) -> object:
        return back(spec.fn(*args, **kwargs))

    stored = replace(
        spec,
        fn=on_loop if spec.is_async else in_thread,
        # A value that cannot be stored is no better the next time.
        give_up_on=(*spec.give_up_on, UnserializableOutput),
    )
    return replace(node, spec=stored)
