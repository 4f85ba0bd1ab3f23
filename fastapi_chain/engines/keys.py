"""The idempotency keys that this process knows."""

from collections import OrderedDict
from typing import Final

from .base import Answer, Kept

KEPT: Final = 1000
"""How many answers are kept; the oldest go first."""


class MemoryKeys:
    """A `KeyStore` in memory."""

    def __init__(self, limit: int = KEPT) -> None:
        """Keep the last *limit* answers."""
        self._limit = limit
        self._open: dict[tuple[str, str], str] = {}
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()

    async def claim(self, chain: str, key: str, payload: str) -> Kept | None:
        """Claim *key*; return what was there before."""
        kept = self._kept.get((chain, key))
        first = self._open.get((chain, key))
        if kept is not None or first is not None:
            return kept or Kept(payload=first or "", answer=None)
        self._open[chain, key] = payload
        return None

    async def keep(self, chain: str, key: str, answer: Answer) -> None:
        """The request has its answer."""
        payload = self._open.pop((chain, key))
        self._kept[chain, key] = Kept(payload=payload, answer=answer)
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    async def free(self, chain: str, key: str) -> None:
        """The request has failed: another one may try."""
        self._open.pop((chain, key), None)
