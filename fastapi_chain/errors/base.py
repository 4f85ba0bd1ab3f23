"""The common form of all errors: what is wrong, the evidence, the cure."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, TypeVar

from fastapi_chain._text import Row, columns

E = TypeVar("E", bound="ChainError")


class ChainError(Exception):
    """Base class of every error that fastapi_chain raises itself.

    An error carries what it is about as attributes; its text is made when it is shown. It survives pickling with the
    same text: an attribute that cannot be pickled is None afterwards.
    """

    code: ClassVar[str] = "chain-error"
    """The anchor of its section in docs/errors.md."""

    what: str = ""
    """The first line of an error without a class of its own."""
    rows: tuple[Row, ...] = ()
    """Its evidence: aligned cells, the place in the last one."""
    fixes: tuple[str, ...] = ()
    """Its cures, as code to paste, the likeliest first."""
    _text: str | None = None  # the text as it was before pickling

    def __init__(self, *, what: str, rows: Iterable[Row] = (), fixes: Iterable[str] = ()) -> None:
        """Say *what* is wrong where no subclass does.

        Args:
            what: One sentence in the user's own names, each in quotes.
            rows: The evidence, as cells that are aligned.
            fixes: What to do, as code to paste, the likeliest first.
        """
        self.what = what
        self.rows = tuple(rows)
        self.fixes = tuple(fixes)

    def problem(self) -> str:
        """Return what is wrong, in one sentence."""
        return self.what

    def evidence(self) -> Iterable[Row]:
        """Return the places and values concerned, as rows of cells."""
        return self.rows

    def remedies(self) -> Iterable[str]:
        """Return what to do about it, the likeliest first."""
        return self.fixes

    def __str__(self) -> str:
        return self._text or self._render()

    def _render(self) -> str:
        lines = [self.problem(), *(f"    {line}" for line in columns(self.evidence()))]
        remedies = list(self.remedies())
        if len(remedies) == 1:
            lines += [f"Fix: {remedies[0]}"]
        elif remedies:
            lines += ["Fix, one of:", *(f"  - {remedy}" for remedy in remedies)]
        return "\n".join([*lines, f"See errors#{self.code}"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.problem()!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle without calling `__init__`: `BaseException` would call it with positional arguments only."""
        kept = {name: value if _survives(value) else None for name, value in vars(self).items()}
        return _rebuild, (type(self), str(self), kept)


def _survives(value: object) -> bool:
    """Tell whether *value* can be pickled and, which the user's own exceptions often cannot, unpickled."""
    import pickle  # noqa: PLC0415 - whoever pickles us has loaded it; nobody else should have to

    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - pickling runs the value's own code, which may raise anything
        return False
    return True


def _rebuild(cls: type[E], text: str, state: Mapping[str, object]) -> E:
    error = cls.__new__(cls)
    vars(error).update(state, _text=text)
    return error
