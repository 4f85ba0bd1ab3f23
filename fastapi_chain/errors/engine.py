"""Errors of the place where runs live."""

from collections.abc import Iterable
from typing import ClassVar

from fastapi_chain._record import record
from fastapi_chain._text import Row, shortened, type_name
from fastapi_chain.spec import Source

from .base import ChainError


class EngineError(ChainError):
    """The engine cannot do what it was asked for."""

    code: ClassVar[str] = "engine"


@record(eq=False, frozen=False)
class EngineNotInstalled(EngineError):
    """The engine needs a package that is not there."""

    engine: str
    """The engine's name."""
    extra: str
    """The extra of fastapi-chain that brings the package."""
    module: str
    """The package's name."""
    code: ClassVar[str] = "engine-not-installed"

    def problem(self) -> str:
        return f"Engine {self.engine!r} needs the package {self.module!r}, which is not installed."

    def remedies(self) -> Iterable[str]:
        return [f"pip install 'fastapi-chain[{self.extra}]'"]


@record(eq=False, frozen=False)
class EngineUnavailable(EngineError):
    """The engine's database does not answer."""

    engine: str
    """The engine's name, or its URL without the password."""
    reason: str
    """What its driver said."""
    code: ClassVar[str] = "engine-unavailable"

    def problem(self) -> str:
        return f"Engine {self.engine!r} does not answer."

    def evidence(self) -> Iterable[Row]:
        return [("reason", shortened(self.reason, 200))]

    def remedies(self) -> Iterable[str]:
        return [
            "start its database, or wait until it is back",
            'name the right one: install(app, engine="postgresql://...")',
        ]


@record(eq=False, frozen=False)
class UnserializableOutput(EngineError):
    """A value cannot be stored, or does not come back as it was."""

    task: Source
    """The task that returned it, or a task that takes the input."""
    input: str | None = None
    """The name of the chain's input; None if a task returned the value."""
    engine: str
    """The engine's name."""
    type: object
    """The type of the value, or of the part of it that is to blame; text once the error exists."""
    where: str = "result"
    """Where in the value that part is: `result["file"]`."""
    reason: str
    """What went wrong."""
    code: ClassVar[str] = "unserializable-output"

    def __post_init__(self) -> None:
        self.type = type_name(self.type)

    def problem(self) -> str:
        if self.input is not None:
            return f"Task {self.task.name!r} takes the input {self.input!r}, which engine {self.engine!r} cannot store."
        return f"Task {self.task.name!r} returned a value that engine {self.engine!r} cannot store."

    def evidence(self) -> Iterable[Row]:
        return [
            ("value", f"{self.where} is {self.type}"),
            ("reason", shortened(self.reason, 200)),
            ("declared at", self.task.at),
        ]

    def remedies(self) -> Iterable[str]:
        return [
            "give plain data or a pydantic model, an id rather than an open handle",
            "obtain the handle where it is used: Annotated[..., Depends(...)]",
        ]
