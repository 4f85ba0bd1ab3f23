"""What a hook sees of the program, and how it says what is wrong."""

from collections.abc import Callable

from mypy.checker import TypeChecker
from mypy.erasetype import erase_typevars
from mypy.maptype import map_instance_to_supertype
from mypy.message_registry import ErrorMessage
from mypy.messages import append_invariance_notes, format_type_bare, format_type_distinctly
from mypy.nodes import Context, Expression, MypyFile, SymbolTableNode, TypeInfo
from mypy.subtypes import is_subtype
from mypy.types import Instance, LiteralType, Type, get_proper_type

from fastapi_chain.errors import ChainError, TypeMismatch
from fastapi_chain.spec import Source

from .flow import Flow, encode
from .metadata import Metadata
from .names import CHAIN_FLOW, FLOW
from .source import Sources


class View:
    """One hook's view."""

    def __init__(self, api: TypeChecker, lookup: Callable[[str], SymbolTableNode | None], sources: Sources) -> None:
        """Look at the module that *api* is checking."""
        self.api = api
        self.tree: MypyFile = api.tree
        self.metadata = Metadata(sources, api.modules)
        self._lookup = lookup

    def info(self, fullname: str) -> TypeInfo | None:
        """Return a class by its full name."""
        # `named_generic_type` walks the names of packages, where a private module need not be bound.
        symbol = self._lookup(fullname)
        return symbol.node if symbol is not None and isinstance(symbol.node, TypeInfo) else None

    def instance(self, fullname: str, *args: Type) -> Instance | None:
        """Return a class with arguments as a type."""
        info = self.info(fullname)
        return Instance(info, list(args)) if info is not None else None

    def with_flow(self, fullname: str, args: list[Type], flow: Flow, otherwise: Type) -> Type:
        """Return the class *fullname* with *args* and *flow* as its arguments."""
        tuple_of = self.instance(FLOW)
        if tuple_of is None:
            return otherwise
        encoded = encode(flow, tuple_of, self.api.named_generic_type("builtins.str", []))
        return self.instance(fullname, *args, encoded) or otherwise

    def type_of(self, expression: Expression) -> Type:
        """Return the type of an expression, which mypy has mostly found already."""
        known = self.api.lookup_type_or_none(expression)
        return known if known is not None else self.api.expr_checker.accept(expression)

    def literal(self, expression: Expression | None) -> str | None:
        """Return the string that an expression is, as far as mypy knows."""
        if expression is None:
            return None
        proper = get_proper_type(self.type_of(expression))
        if isinstance(proper, Instance) and proper.last_known_value is not None:
            proper = proper.last_known_value
        return proper.value if isinstance(proper, LiteralType) and isinstance(proper.value, str) else None

    def awaited(self, returned: Type) -> Type:
        """Return what a task gives whose call returns *returned*: a coroutine is awaited."""
        proper = get_proper_type(returned)
        coroutine = self.info("typing.Coroutine")
        if coroutine is not None and isinstance(proper, Instance) and proper.type.has_base("typing.Coroutine"):
            return map_instance_to_supertype(proper, coroutine).args[2]
        return returned

    # ------------------------------------------------------------------------------------------------------------------
    # Saying what is wrong
    # ------------------------------------------------------------------------------------------------------------------

    def say(self, error: ChainError, at: Context) -> None:
        """Report *error* in its own words, with its likeliest cure."""
        self.api.fail(error.problem(), at, code=CHAIN_FLOW)
        for remedy in list(error.remedies())[:1]:
            self.api.note(f"Fix: {remedy}", at, code=CHAIN_FLOW)

    def text(self, typ: Type) -> str:
        """Return a type as users write it."""
        return format_type_bare(typ, self.api.options)

    def fits(self, given: Type, taken: Type, mismatch: Callable[[str, str], TypeMismatch], at: Context) -> bool:
        """Check that a value fits where it goes; if not, report what *mismatch* makes of the two types as text."""
        taken = erase_typevars(taken)
        if is_subtype(given, taken, options=self.api.options):
            return True
        given_text, taken_text = format_type_distinctly(given, taken, options=self.api.options, bare=True)
        message = ErrorMessage(mismatch(given_text, taken_text).problem(), CHAIN_FLOW)
        one, two = get_proper_type(given), get_proper_type(taken)
        notes: list[str] = []
        if isinstance(one, Instance) and isinstance(two, Instance):
            notes = append_invariance_notes(notes, one, two)
        return self.api.check_subtype(given, taken, at, message, notes=notes)


def someone(name: str) -> Source:
    """Return *name* as an error wants it; mypy itself says where."""
    return Source(name=name, file="", line=0)
