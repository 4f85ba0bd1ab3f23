"""Tasks of one module that wait for each other, and two of one name.

Only a name in `after=`, `each=` or `From` can close a circle: an object has to exist before it is used.
"""

import ast
from collections.abc import Iterator

from mypy.nodes import Decorator, Expression, NameExpr, StrExpr

from fastapi_chain.errors import CycleError, DuplicateTask

from .declared import Declared, default_reference, items_of, registry_name, tasks_of
from .view import View, someone


class Circle:
    """Looks for a circle through one task."""

    def __init__(self, view: View, start: Decorator) -> None:
        """Start at the task *start*."""
        self._view = view
        self._start = start
        self._tasks = {decorator.fullname: (decorator, declared) for decorator, declared in tasks_of(view)}

    def check(self) -> None:
        """Report a circle, once: at the task that stands first."""
        path = self._walk(self._start, [], set())
        if path and min(decorator.func.line for decorator, _ in path) == self._start.func.line:
            steps = tuple((someone(self._name(decorator)), why) for decorator, why in path)
            self._view.say(CycleError(path=steps), self._start.func)

    def _name(self, decorator: Decorator) -> str:
        return self._tasks[decorator.fullname][1].name(decorator.func.name)

    def _walk(
        self, decorator: Decorator, path: list[tuple[Decorator, str]], seen: set[str]
    ) -> list[tuple[Decorator, str]]:
        """Return the way from *decorator* back to the start; empty if there is none."""
        for target, why in self._edges(decorator):
            here = [*path, (decorator, why)]
            if target is self._start:
                return here
            if target.fullname not in seen:
                seen.add(target.fullname)
                found = self._walk(target, here, seen)
                if found:
                    return found
        return []

    def _edges(self, decorator: Decorator) -> Iterator[tuple[Decorator, str]]:
        """Yield the tasks of this module that a task of this module waits for, and how that is written."""
        declared = self._tasks[decorator.fullname][1]
        for option, reference in references(self._view, decorator, declared):
            target = self._target(reference, declared.registry, by_output=option == "each")
            if target is not None:
                name = self._name(target)
                output = self._tasks[target.fullname][1].output(name)
                needed = option == "after" and output in decorator.func.arg_names
                written = {"after": f"after=[{name}]", "each": f"each={name}", "From": f"needs {name!r}"}[option]
                yield target, f"needs {output!r}" if needed else written

    def _target(self, reference: "Decorator | str", registry: str, *, by_output: bool) -> Decorator | None:
        if isinstance(reference, Decorator):
            return reference if reference.fullname in self._tasks else None
        for decorator, declared in self._tasks.values():
            name = declared.name(decorator.func.name)
            names = {name, declared.output(name)} if by_output else {name}
            if declared.registry == registry and reference in names:
                return decorator
        return None


def references(view: View, decorator: Decorator, declared: Declared) -> Iterator[tuple[str, "Decorator | str"]]:
    """Yield what a task names: the option, and the task or its name."""
    written: list[tuple[str, Expression | None]] = [("after", item) for item in items_of(declared.after)]
    written.append(("each", declared.each[1]))
    written += [("From", default_reference(argument.initializer)) for argument in decorator.func.arguments]
    for option, expression in written:
        if isinstance(expression, StrExpr):
            yield option, expression.value
        elif isinstance(expression, NameExpr) and isinstance(expression.node, Decorator):
            yield option, expression.node
    for annotation in (view.metadata.annotations(view.tree.fullname, decorator.func) or {}).values():
        module, task = view.metadata.marks(view.tree.fullname, annotation).reference or ("", None)
        if isinstance(task, ast.Constant) and isinstance(task.value, str):
            yield "From", task.value
        elif task is not None:
            node = view.metadata.resolve(module, task)
            if isinstance(node, Decorator):
                yield "From", node


def check_duplicate(view: View, decorator: Decorator, declared: Declared, name: str) -> None:
    """Report a task whose name another task of the module and the registry has borne before."""
    if declared.option("name") is None:
        return
    plain = [statement for statement in view.tree.defs if isinstance(statement, Decorator)]
    if decorator not in plain:
        return
    for other, known in tasks_of(view):
        first = other in plain and other.func.line < decorator.func.line
        if first and known.registry == declared.registry and known.name(other.func.name) == name:
            where = f"registry {registry_name(view, declared.registry)!r}"
            error = DuplicateTask(name=name, first=someone(name), second=someone(name), where=where)
            view.say(error, decorator.func)
            return
