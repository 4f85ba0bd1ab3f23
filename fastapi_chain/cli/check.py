"""`check`: what is wrong with the chains of an app, as a compiler would say it."""

import linecache
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from fastapi_chain import typecheck
from fastapi_chain._fastapi import input_kinds
from fastapi_chain._terminal import Line, Span
from fastapi_chain._text import columns, counted
from fastapi_chain.chains import Chain, all_chains, draft_of
from fastapi_chain.engines.base import Engine
from fastapi_chain.engines.here import default_engine
from fastapi_chain.errors import ChainError, InvalidChain
from fastapi_chain.spec import Source
from fastapi_chain.web.checking import chains_of, check_chains, endpoints_of
from fastapi_chain.web.runtime import Runtime, runtime_of

from .discovery import Found, ImportFailed, find_app
from .stopping import Stop

Severity = Literal["error", "warning"]

_FIRST: Final = ("consumer", "task", "endpoint", "second")
"""The attributes of an error that name the place to look at first."""

_BARE: Final = frozenset({"chain-flow", "warning"})
"""The codes that have no section in docs/errors.md."""

_PLACE: Final = re.compile(r"^(?P<file>.+):(?P<line>\d+)$")
_LAST_PLACE: Final = re.compile(r"\((?P<place>[^()\s]+:\d+)\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that was found."""

    severity: Severity
    code: str
    """The anchor of its section in docs/errors.md; `warning` for what has none."""
    message: str
    """What is wrong, in one sentence."""
    chain: str | None = None
    """The chain in which it was found; None for the app as a whole."""
    file: str | None = None
    line: int | None = None
    evidence: tuple[str, ...] = ()
    """The places and values concerned, a line each."""
    help: tuple[str, ...] = ()
    """What to do about it, the likeliest first."""

    def document(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "chain": self.chain,
            "file": self.file,
            "line": self.line,
            "evidence": list(self.evidence),
            "help": list(self.help),
        }


@dataclass(slots=True, kw_only=True)
class Looked:
    """What became of a chain."""

    name: str
    tasks: int | None
    """How many tasks it has; None where that cannot be said."""
    problems: list[Problem] = field(default_factory=list)

    def count(self, severity: Severity) -> int:
        """Return how many of its problems are errors, or warnings."""
        return sum(problem.severity == severity for problem in self.problems)


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of an app."""

    app: str
    how: str
    chains: list[Looked] = field(default_factory=list)
    others: list[Problem] = field(default_factory=list)
    """The problems of the app as a whole."""

    @property
    def problems(self) -> list[Problem]:
        """All problems."""
        return [*self.others, *(problem for chain in self.chains for problem in chain.problems)]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; warnings are not."""
        return all(problem.severity != "error" for problem in self.problems)

    def document(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "app": self.app,
            "ok": self.ok,
            "chains": [
                {
                    "name": chain.name,
                    "tasks": chain.tasks,
                    "errors": chain.count("error"),
                    "warnings": chain.count("warning"),
                }
                for chain in self.chains
            ],
            "problems": [problem.document() for problem in self.problems],
        }


def check_app(wanted: str | None) -> Report:
    """Import the app and check every chain that there is then.

    Raises:
        Stop: There is no app, or it cannot be imported for a reason that is not ours.
    """
    try:
        found = find_app(wanted)
    except ImportFailed as failed:
        if not isinstance(failed.error, ChainError):
            raise
        return Report(app=wanted or "", how="", others=list(_problems([failed.error], None)))
    return look(found)


def look(found: Found) -> Report:
    """Check every chain of an app that has been imported."""
    report = Report(app=found.name, how=found.how)
    runtime = runtime_of(found.app)
    engine: Engine = default_engine if runtime is None else runtime.engine
    introduce(found.app)
    report.chains += [_look(chain, engine) for chain in every_chain(found.app)]
    known = {problem.message for problem in report.problems}
    with _warnings():
        try:
            check_chains(found.app, engine)
        except InvalidChain as invalid:
            report.others += [problem for problem in _problems(invalid.problems, None) if problem.message not in known]
    report.others += () if runtime is None else _unprotected(runtime)
    return report


def _unprotected(runtime: Runtime) -> Iterator[Problem]:
    """Yield a warning if the app starts up in development only."""
    try:
        runtime.check_pages()
    except ChainError as error:
        yield from (replace(problem, severity="warning") for problem in _problems([error], None))


def check_types(wanted: str | None, checker: str | None) -> Report:
    """Import the app, and let a type checker look at what flows between the tasks of its chains.

    Raises:
        Stop: There is no app, or the checker cannot be run.
    """
    found = find_app(wanted)
    introduce(found.app)
    chains = every_chain(found.app)
    try:
        with _warnings():
            types = typecheck.check_types(chains, checker)
    except typecheck.CheckerMissing as missing:
        raise Stop(str(missing)) from missing
    report = Report(app=found.name, how=f"{found.how}, checked with {types.checker}")
    report.chains += [Looked(name=chain.name, tasks=len(draft_of(chain).plan.nodes)) for chain in chains]
    report.others += [_finding(finding, types.checker) for finding in types.findings]
    report.others += _problems(types.problems, None)
    report.others += [
        _warning(f"task {name!r} is left out: it is made where no module can name it", None) for name in types.left_out
    ]
    return report


def _finding(finding: typecheck.Finding, checker: str) -> Problem:
    file, line = _split(Source(name="", file=finding.file, line=finding.line).at)
    said = () if finding.detail == finding.message else (f"{checker}: {finding.detail}",)
    return Problem(severity="error", code="chain-flow", message=finding.message, file=file, line=line, evidence=said)


def introduce(app: object) -> None:
    """Tell the endpoints of *app* what only its routes know about them."""
    for _, endpoint, route in endpoints_of(app):
        endpoint.kinds = input_kinds(route.dependant)
        endpoint.route = f"{route.methods[0]} {route.path}"


def every_chain(app: object) -> list[Chain]:
    """Return the chains of *app* in the order of its routes, then all others in the order in which they are written."""
    mounted = chains_of(app)
    others = sorted(set(all_chains) - set(mounted), key=lambda chain: (chain.source.file, chain.source.line))
    return [*mounted, *others]


def _look(chain: Chain, engine: Engine) -> Looked:
    looked = Looked(name=chain.name, tasks=None)
    with _warnings() as warnings:
        try:
            chain.check(engine=engine.name)
            looked.problems += _problems(list(engine.check(chain.plan)), chain.name)
            looked.tasks = len(chain.plan.nodes)
        except InvalidChain as invalid:
            looked.problems += _problems(invalid.problems, chain.name)
    looked.problems += [_warning(text, chain.name) for text in warnings]
    return looked


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect what is logged as a warning meanwhile; it is part of the report, not of the log."""
    texts: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    log, handler = logging.getLogger("fastapi_chain"), Collect(logging.WARNING)
    propagate, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield texts
    finally:
        log.removeHandler(handler)
        log.propagate = propagate


def _problems(errors: Iterable[ChainError], chain: str | None) -> Iterator[Problem]:
    for error in errors:
        if isinstance(error, InvalidChain):
            yield from _problems(error.problems, chain)
            continue
        file, line = _place(error)
        yield Problem(
            severity="error",
            code=error.code,
            message=error.problem(),
            chain=chain,
            file=file,
            line=line,
            evidence=tuple(columns(error.evidence())),
            help=tuple(error.remedies()),
        )


def _warning(text: str, chain: str | None) -> Problem:
    match = _LAST_PLACE.search(text)
    file, line = (None, None) if match is None else _split(match["place"])
    return Problem(severity="warning", code="warning", message=text, chain=chain, file=file, line=line)


def _place(error: ChainError) -> tuple[str | None, int | None]:
    """Return the place that *error* is about: of the task that has to change first, as far as one can tell."""
    for name in _FIRST:
        source = getattr(error, name, None)
        if isinstance(source, Source):
            return _split(source.at)
    cells = [cell for row in error.evidence() for cell in row]
    return next((_split(cell) for cell in cells if _PLACE.match(cell)), (None, None))


def _split(place: str) -> tuple[str | None, int | None]:
    file, _, line = place.rpartition(":")
    return file, int(line)


# ----------------------------------------------------------------------------------------------------------------------
# How it is printed
# ----------------------------------------------------------------------------------------------------------------------


def as_text(report: Report) -> list[Line]:
    """Return the report for a person."""
    lines: list[Line] = []
    if report.how:
        lines += [(Span("App "), Span(report.app, "strong"), Span(f"  {report.how}", "dim")), ()]
    width = max((len(chain.name) for chain in report.chains), default=0)
    lines += [_chain(chain, width) for chain in report.chains]
    for problem in report.problems:
        lines += [(), *_problem(problem)]
    return [*lines, (), _summary(report)]


def _chain(chain: Looked, width: int) -> Line:
    bad, doubtful = chain.count("error"), chain.count("warning")
    about = [
        "" if chain.tasks is None else counted(chain.tasks, "task"),
        counted(bad, "error") if bad else "",
        counted(doubtful, "warning") if doubtful else "",
    ]
    sign = Span("✗ ", "bad") if bad else Span("✓ ", "good")
    return (sign, Span(f"{chain.name:<{width}}"), Span(f"  {', '.join(text for text in about if text)}", "dim"))


def _problem(problem: Problem) -> Iterator[Line]:
    style: Literal["bad", "waiting"] = "bad" if problem.severity == "error" else "waiting"
    yield (Span(problem.severity, style), Span(f"[{problem.code}]", "dim"), Span(f": {problem.message}", "strong"))
    if problem.file is not None and problem.line is not None:
        yield (Span(f"  --> {problem.file}:{problem.line}", "dim"),)
        source = _source(problem.file, problem.line)
        if source is not None:
            number, text = source
            yield (Span(f"  {number:>4} │ ", "dim"), Span(text))
    yield from ((Span(f"       {row}", "dim"),) for row in problem.evidence)
    yield from ((Span("       help: ", "type"), Span(text)) for text in problem.help)
    if problem.code not in _BARE:
        yield (Span(f"       see: errors#{problem.code}", "dim"),)


def _source(file: str, line: int) -> tuple[int, str] | None:
    """Return the line to show of a place: of a decorated function the one with its name."""
    number = line
    while linecache.getline(file, number).lstrip().startswith("@"):
        number += 1
    text = linecache.getline(file, number).strip()
    return (number, text) if text else None


def _summary(report: Report) -> Line:
    errors = sum(problem.severity == "error" for problem in report.problems)
    warnings = len(report.problems) - errors
    tasks = sum(chain.tasks or 0 for chain in report.chains)
    found = [counted(errors, "error")] if errors or not warnings else []
    found += [counted(warnings, "warning")] if warnings else []
    where = f" in {counted(len(report.chains), 'chain')}, {counted(tasks, 'task')}"
    return (Span(", ".join(found), "bad" if errors else "strong"), Span(where))


def as_github(report: Report) -> str:
    """Return the report as commands that GitHub shows beside the lines of a pull request."""
    lines = [_annotation(problem) for problem in report.problems]
    return "\n".join([*lines, "".join(span.text for span in _summary(report))])


def _annotation(problem: Problem) -> str:
    place: dict[str, Any] = {"file": problem.file, "line": problem.line, "title": problem.code}
    given = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in place.items() if value is not None)
    text = "\n".join([problem.message, *problem.evidence, *(f"help: {text}" for text in problem.help)])
    return f"::{problem.severity} {given}::{_escaped(text)}"


def _escaped(text: str, also: Sequence[str] = ()) -> str:
    for sign in ("%", "\r", "\n", *also):
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text
