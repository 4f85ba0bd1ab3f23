"""The chains of an app, by name."""

from collections.abc import Callable, Sequence

from fastapi_chain.chains import Chain, all_chains

from .problem import Refusal


class Directory:
    """Finds chains."""

    def __init__(self, chains: Callable[[], Sequence[Chain]]) -> None:
        """Look among *chains*: those on an endpoint of the app."""
        self._chains = chains
        self._by_name: dict[str, Chain] | None = None

    def refresh(self) -> None:
        """Forget what was found: the app may have more routes now."""
        self._by_name = None

    def chains(self) -> list[Chain]:
        """Return the chains of the app, in the order of its routes."""
        if self._by_name is None:
            self._by_name = {chain.name: chain for chain in self._chains()}
        return list(self._by_name.values())

    def find(self, name: str) -> Chain | None:
        """Return the chain of that name; one that is on no endpoint is started by the app's own code."""
        self.chains()
        found = (self._by_name or {}).get(name)
        if found is not None:
            return found
        return next((chain for chain in all_chains if not chain.endpoints and chain.name == name), None)

    def get(self, name: str) -> Chain:
        """Return the chain of that name.

        Raises:
            Refusal: 404, there is none.
        """
        found = self.find(name)
        if found is None:
            raise Refusal(404, "chain-not-found", f"This app has no chain {name!r}.")
        return found
