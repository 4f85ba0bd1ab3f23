"""How the tests of planning ask for plans and problems."""

import textwrap

import pytest

from fastapi_chain import default_registry
from fastapi_chain.chains.coverage import covered
from fastapi_chain.plan import draft_plan, make_plan


class Planning:
    """Plans tasks of the default registry, as a chain called `shop` would."""

    @staticmethod
    def plan(*targets, registries=()):
        """Return the plan of *targets*."""
        return make_plan("shop", [target.spec for target in targets], [*registries, default_registry])

    @staticmethod
    def draft(*targets, registries=()):
        """Return the plan of *targets* with its problems."""
        return draft_plan("shop", [target.spec for target in targets], [*registries, default_registry])

    def problems(self, *targets, registries=()):
        """Return what is wrong with *targets*."""
        return self.draft(*targets, registries=registries).problems

    def only(self, *targets, registries=()):
        """Return the one thing that is wrong with *targets*, as text."""
        (problem,) = self.problems(*targets, registries=registries)
        return str(problem)

    def uncovered(self, *targets, endpoint=None):
        """Return what is wrong if *endpoint* starts *targets*; without one, `start()` does."""
        return list(covered(self.plan(*targets), endpoint))

    @staticmethod
    def sources(plan, task):
        """Return where the parameters of *task* come from: a task or an input by name, else who gives them."""
        node = plan.nodes[plan.index[task.name]]
        names = [*plan.names, *(f"<{name}>" for name in plan.input_names)]
        return {f.param.name: names[f.slot] if f.kind in {"task", "input"} else f.kind for f in node.fills}

    @staticmethod
    def text(shown):
        """Return *shown* without its indentation."""
        return textwrap.dedent(shown).strip("\n")


@pytest.fixture
def planning():
    """What plans tasks."""
    return Planning()
