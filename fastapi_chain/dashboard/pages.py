"""Templates to pages: the only contact with Jinja."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import HTMLResponse

from fastapi_chain._drawing import GLYPHS
from fastapi_chain._text import readable
from fastapi_chain.errors import ChainError

from . import words
from .assets import asset

_THEMES: Final = frozenset({"light", "dark"})


class Site(NamedTuple):
    """What every page has around it."""

    base: str
    """The way from this page to the root of the dashboard, relative: so it holds under any prefix, mount and proxy."""
    page: str
    """Which part of the site it belongs to."""
    title: str
    """The name of the app."""
    engine: str
    """Where runs are kept."""
    theme: str
    """`light`, `dark`, or `auto`: as the reader's system has it."""

    def static(self, name: str) -> str:
        """Return the address of a static file; it changes with its content."""
        return f"{self.base}/static/{name}?v={asset(name).version}"


def theme_of(request: Request) -> str:
    """Return the theme that the reader has chosen."""
    chosen = request.cookies.get("fastapi-chain-theme", "")
    return chosen if chosen in _THEMES else "auto"


@cache
def environment() -> Any:  # noqa: ANN401 - jinja2.Environment, which may not be installed
    """Return the templates, compiled when first used.

    Raises:
        ChainError: Jinja2 is not installed.
    """
    try:
        jinja2: Any = import_module("jinja2")
    except ModuleNotFoundError as error:
        raise ChainError(
            what="The dashboard needs the package 'jinja2', which is not installed.",
            fixes=["pip install 'fastapi-chain[dashboard]'"],
        ) from error
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(files(__package__).joinpath("templates"))),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        undefined=jinja2.StrictUndefined,
    )
    made.globals["glyphs"] = GLYPHS
    made.filters |= {"duration": words.duration, "ago": words.ago, "clock": words.clock, "number": words.number}
    return made


def page(template: str, site: Site, values: Mapping[str, object], status: int = 200) -> HTMLResponse:
    """Return the page that *template* makes of *values*."""
    text: str = environment().get_template(template).render({"site": site, **values})
    # Texts of users may hold what no encoding has.
    return HTMLResponse(readable(text), status)
