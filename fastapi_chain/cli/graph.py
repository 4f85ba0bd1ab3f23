"""`graph`: the drawing of a chain."""

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from fastapi_chain._drawing import picture_of
from fastapi_chain._drawing.mermaid import mermaid
from fastapi_chain._terminal import Line, Span, boxes, dot, figures, plain, tree
from fastapi_chain._text import closest, listed
from fastapi_chain.chains import Chain
from fastapi_chain.errors import InvalidChain
from fastapi_chain.web.definitions import graph_of

from .check import every_chain, introduce
from .discovery import Found
from .output import say, say_text, warn
from .stopping import Stop


class Format(StrEnum):
    """What a drawing can be."""

    TERMINAL = "terminal"
    TREE = "tree"
    MERMAID = "mermaid"
    SVG = "svg"
    DOT = "dot"
    JSON = "json"


def chosen(found: Found, name: str | None) -> list[Chain]:
    """Return the chain called *name*; None: all chains of the app.

    Raises:
        Stop: There is none.
    """
    introduce(found.app)
    chains = every_chain(found.app)
    if name is not None:
        chains = [chain for chain in chains if chain.name == name]
    if not chains:
        names = [chain.name for chain in every_chain(found.app)]
        if name is None:
            raise Stop(f"{found.name} has no chains")
        near = closest(name, names)
        raise Stop(
            f"there is no chain {name!r}" + (f", did you mean {near!r}?" if near else f"; there is {listed(names)}")
        )
    for chain in chains:
        try:
            chain.check()
        except InvalidChain as error:
            raise Stop(f"{error.problem()} fastapi-chain check says what is wrong", 1) from error
    return chains


def draw(chains: Sequence[Chain], form: Format, output: Path | None) -> None:
    """Print the drawings of *chains*, or write them to a file.

    Raises:
        Stop: There is more than one, and the format has room for one; or what draws it is not installed; or the file
        cannot be written.
    """
    if form in {Format.TERMINAL, Format.TREE}:
        lines = [line for chain in chains for line in [*_lines(chain, form), ()]][:-1]
        if output is None:
            say(lines)
        else:
            _write(output, plain(lines))
        return
    text = _text(chains, form)
    if output is None:
        say_text(text)
    else:
        _write(output, text)


def _lines(chain: Chain, form: Format) -> list[Line]:
    drawn = boxes(chain.plan) if form is Format.TERMINAL else None
    if drawn is None:
        if form is Format.TERMINAL:
            warn("boxes need termaid: pip install 'fastapi-chain[cli]'")
        return tree(chain.plan, _about(chain))
    head: Line = (Span(chain.name, "strong"), Span(f" {_about(chain)}", "dim"))
    foot: Line = (Span(figures(chain.plan), "dim"),)
    return [head, (), *((Span(line),) for line in drawn.splitlines()), (), foot]


def _about(chain: Chain) -> str:
    """Return what stands beside a chain's name: where it starts, and where it is written."""
    routes = [endpoint.route for endpoint in chain.endpoints if " " in endpoint.route]
    return " · ".join([*routes, chain.source.at])


def _text(chains: Sequence[Chain], form: Format) -> str:
    if form is Format.JSON:
        graphs = [graph_of(chain.plan).model_dump(mode="json") for chain in chains]
        return json.dumps(graphs[0] if len(graphs) == 1 else graphs, ensure_ascii=False, indent=2) + "\n"
    if len(chains) > 1:
        raise Stop(f"--format {form.value} draws one chain; name it: {listed(chain.name for chain in chains)}")
    plan = chains[0].plan
    if form is Format.SVG:
        drawn = picture_of(plan).alone
        if drawn is None:
            raise Stop("SVG needs graphlay: pip install 'fastapi-chain[dashboard]'")
        return drawn
    return mermaid(plan) if form is Format.MERMAID else dot(plan)


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Stop(f"{output} cannot be written: {error.strerror}") from error
