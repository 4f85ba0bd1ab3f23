"""What comes before a task, and which of it fills a parameter."""

from dataclasses import dataclass, field

from fastapi_chain._text import closest

from .flow import Flow, Give


@dataclass(slots=True)
class Upstream:
    """The tasks that come before one."""

    unknown: bool = False
    """Whether it names a task that is not known."""
    direct: dict[str, Flow] = field(default_factory=dict)
    """Those that it names, by id."""
    gives: dict[str, dict[str, Give]] = field(default_factory=dict)
    """All outputs: by name, then by the id of the task."""

    @property
    def open(self) -> bool:
        """Whether there may be more than is known."""
        return self.unknown or any(flow.open for flow in self.direct.values())

    def add(self, flow: Flow | None) -> None:
        """Take in a task that is named, and all before it; None is one that is not known."""
        if flow is None:
            self.unknown = True
            return
        self.direct.setdefault(flow.id, flow)
        for give in flow.gives.values():
            self.gives.setdefault(give.name, {}).setdefault(give.id, give)

    def sources(self, name: str) -> list[Give]:
        """Return what fills a parameter called *name*: outputs of tasks directly before, else of tasks further up."""
        known = list(self.gives.get(name, {}).values())
        near = [give for give in known if give.id in self.direct]
        # One that is not known may stand nearer than those further up.
        return near or ([] if self.unknown else known)

    def near(self, name: str) -> str:
        """Return the output whose name is nearly *name*; empty if there is none."""
        return closest(name, self.gives) or ""
