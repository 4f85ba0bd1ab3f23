"""The chains of an app, by name."""

from collections.abc import Callable, Iterable

from fastapi_chain.chains import Chain, all_chains
from fastapi_chain.endpoint.problem import Refusal


class Directory:
    """Finds chains."""

    def __init__(self, started: Callable[[], Iterable[tuple[Chain, str]]]) -> None:
        """Look where *started* says: it gives the chains of the app, each with every route that starts it."""
        self._started = started
        self._routes: dict[Chain, list[str]] | None = None

    def refresh(self) -> None:
        """Forget what was found: the app may have more routes now."""
        self._routes = None

    def chains(self) -> dict[Chain, list[str]]:
        """Return the chains of the app, in the order of its routes, each with the routes that start it."""
        if self._routes is None:
            self._routes = {}
            for chain, route in self._started():
                self._routes.setdefault(chain, []).append(route)
        return self._routes

    def find(self, name: str) -> Chain | None:
        """Return the chain of that name; one that is on no endpoint is started by the app's own code."""
        bare = (chain for chain in all_chains if not chain.endpoints)
        return next((chain for chain in (*self.chains(), *bare) if chain.name == name), None)

    def get(self, name: str) -> Chain:
        """Return the chain of that name.

        Raises:
            Refusal: 404, there is none.
        """
        found = self.find(name)
        if found is None:
            raise Refusal(404, "chain-not-found", f"This app has no chain {name!r}.")
        return found

    def routes(self, chain: Chain) -> list[str]:
        """Return the routes that start *chain*."""
        return self.chains().get(chain, [])
