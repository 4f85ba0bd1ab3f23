"""The chains of an app: where they are, and what is wrong with them."""

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi_chain._fastapi import ApiRoute, api_routes, endpoint_ids, input_kinds, known_endpoints
from fastapi_chain.chains import Chain, all_chains
from fastapi_chain.endpoint import Endpoint, bare_functions, starts_chain
from fastapi_chain.engines.base import Engine
from fastapi_chain.errors import ChainError, DecoratorOrder, DuplicateChain, InvalidChain
from fastapi_chain.spec import Source


def endpoints_of(app: Any) -> Iterator[tuple[Chain, Endpoint, ApiRoute]]:  # noqa: ANN401 - any Starlette app
    """Yield the endpoints of *app* that have a chain, each with its chain and route."""
    known = {id(endpoint.wrapper): (chain, endpoint) for chain in all_chains for endpoint in chain.endpoints}
    for route in api_routes(app):
        for layer in endpoint_ids(route.endpoint):
            if layer in known:
                yield *known[layer], route


def chains_of(app: Any) -> list[Chain]:  # noqa: ANN401 - as above
    """Return the chains that are on an endpoint of *app*, in the order of its routes."""
    return list(dict.fromkeys(chain for chain, _, _ in endpoints_of(app)))


def check_chains(app: Any, engine: Engine) -> None:  # noqa: ANN401 - as above
    """Check every chain of *app*, whose runs run on *engine*.

    Raises:
        InvalidChain: Something is wrong; the problems of all chains are in it.
    """
    problems: list[ChainError] = [*_order(app)]
    for _, endpoint, route in endpoints_of(app):
        endpoint.kinds = input_kinds(route.dependant)
        endpoint.route = route.name
    by_name: dict[str, Chain] = {}
    for chain in chains_of(app):
        first = by_name.setdefault(chain.name, chain)
        if first is not chain:
            problems.append(DuplicateChain(name=chain.name, first=_place(first), second=_place(chain)))
        try:
            chain.check(engine=engine.name)
            problems += engine.check(chain.plan)
        except InvalidChain as error:
            problems += error.problems
    if problems:
        # One task in many chains is wrong once.
        unique = {str(problem): problem for problem in problems}
        raise InvalidChain(chain=None, problems=tuple(unique.values()))


def _order(app: Any) -> Iterator[DecoratorOrder]:  # noqa: ANN401 - as above
    """Yield the endpoints whose chain stands above the route, which has registered the bare function."""
    bare = bare_functions()
    routes = [(route, bare.keys() & set(endpoint_ids(route.endpoint))) for route in api_routes(app)]
    # A function may be an endpoint with and without its chain, if somebody wants that, here or in another app.
    chained = _chained(route.endpoint for route, _ in routes)
    if any(found - chained for _, found in routes):
        chained |= _chained(known_endpoints())
    for route, found in routes:
        for layer in found - chained:
            source, is_async = bare[layer]
            yield DecoratorOrder(endpoint=source, route=route.name, is_async=is_async)


def _chained(endpoints: Iterable[object]) -> set[int]:
    """Return the layers of those endpoints that start a chain."""
    every = (set(endpoint_ids(endpoint)) for endpoint in endpoints)
    return {layer for layers in every if starts_chain(layers) for layer in layers}


def _place(chain: Chain) -> Source:
    return chain.endpoints[0].source
