"""The flow of values between tasks, checked by any type checker: `fastapi-chain typecheck`.

No checker but mypy has plugins, and none knows that a parameter bears the name of a task. So the flow is written down:
a module in which every task is called, by keyword, with what flows into each parameter. That any checker understands.

    written.py    annotations and tasks, as source
    module.py     the module, and what each of its lines is about
    checkers.py   mypy, pyright, ty and pyrefly: how they are called, and what they answer
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from fastapi_chain._text import counted
from fastapi_chain.chains import Chain, draft_of
from fastapi_chain.errors import ChainError, InvalidChain, TypeMismatch

from .checkers import CHECKERS, CheckerMissing, checker_here, run_checker
from .module import CheckModule

__all__ = ["CHECKERS", "CheckerMissing", "Finding", "Report", "check_types", "checker_here", "run"]


class Finding(NamedTuple):
    """Something that the checker does not accept."""

    file: str
    """Absolute path of the user's file."""
    line: int
    """The line: of the parameter, or of the function."""
    message: str
    """What is wrong, in one sentence."""
    detail: str
    """What the checker said."""


class Report(NamedTuple):
    """What came of a check."""

    checker: str
    """The checker."""
    findings: tuple[Finding, ...]
    """What it found."""
    problems: tuple[ChainError, ...]
    """What is wrong apart from that: with names, order and whatever else is no matter of types."""
    tasks: int
    """How many tasks were checked."""
    left_out: tuple[str, ...]
    """The tasks that a module cannot name, as one made inside a function: they are checked as at start-up only."""

    @property
    def wrong(self) -> int:
        """How many things are wrong."""
        return len(self.findings) + len(self.problems)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        for finding in self.findings:
            lines.append(f"{finding.file}:{finding.line}: {finding.message}")
            if finding.detail != finding.message:
                lines.append(f"    {self.checker}: {finding.detail}")
        lines += [f"left out: a module cannot name task {name!r}" for name in self.left_out]
        lines.append(f"{counted(self.wrong, 'problem')} in {counted(self.tasks, 'task')}, checked with {self.checker}")
        return "\n".join(lines)


def check_types(chains: Sequence[Chain], checker: str | None = None, path: Sequence[str] = ()) -> Report:
    """Check *chains* as at start-up, and let a type checker look at all that flows in them.

    Args:
        chains: The chains.
        checker: `mypy`, `pyright`, `ty` or `pyrefly`; None: the one that this project uses.
        path: Folders in which the user's modules are found, beside the current one.

    Raises:
        CheckerMissing: The checker is not installed, or does not work.
    """
    name = checker or checker_here()
    module = CheckModule()
    for chain in chains:
        module.add(draft_of(chain).plan, [endpoint.describe() for endpoint in chain.endpoints])
    found: dict[tuple[str, int, str], Finding] = {}
    for line, text in run_checker(name, module.source(), path):
        place = module.places.get(line)
        if place is not None:
            message = text if place.mismatch is None else place.mismatch.problem()
            finding = Finding(place.file, place.line, message, text)
            found.setdefault(finding[:3], finding)
    # The checker says what it sees better: with its reasons.
    typed = {finding.message for finding in found.values()}
    problems = tuple(p for p in _problems(chains) if not (isinstance(p, TypeMismatch) and p.problem() in typed))
    return Report(name, tuple(sorted(found.values())), problems, module.tasks, tuple(module.left_out))


def _problems(chains: Iterable[Chain]) -> list[ChainError]:
    """Return what start-up finds; what is wrong in many chains once."""
    problems: dict[str, ChainError] = {}
    for chain in chains:
        try:
            chain.check()
        except InvalidChain as invalid:
            problems |= {str(problem): problem for problem in invalid.problems}
    return list(problems.values())


def run(chains: Sequence[Chain], checker: str | None, write: Callable[[str], object], path: Sequence[str] = ()) -> int:
    """Check *chains*, as `check_types` does, and write what is wrong; return the exit code of the command.

    Args:
        chains: The chains.
        checker: `mypy`, `pyright`, `ty` or `pyrefly`; None: the one that this project uses.
        write: Takes the text.
        path: Folders in which the user's modules are found, beside the current one.

    Returns:
        0 if nothing is wrong, 1 if something is, 2 if the checker cannot be run.
    """
    try:
        report = check_types(chains, checker, path)
    except CheckerMissing as missing:
        write(str(missing))
        return 2
    write(str(report))
    return 1 if report.wrong else 0
