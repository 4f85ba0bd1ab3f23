"""The idempotency keys of requests, known to all processes."""

import json
from base64 import b64decode, b64encode
from typing import Final

import sqlalchemy as sa

from fastapi_chain.engines.base import Answer, Kept

from .database import answers, processes
from .link import Link

AGE: Final = 24 * 3600.0
"""Seconds for which an answer is kept at least."""


class DurableKeys:
    """A `KeyStore` in a database."""

    def __init__(self, link: Link) -> None:
        """Keep keys where *link* leads to."""
        self._link = link

    async def claim(self, chain: str, key: str, payload: str) -> Kept | None:
        """Claim *key*; return what was there before."""
        return await self._link(self._claim, chain, key, payload)

    def _claim(self, chain: str, key: str, payload: str) -> Kept | None:
        clock = self._link.database.clock
        with self._link.writing() as connection:
            # A claim whose process has died before it could answer is as good as none.
            alive = sa.select(processes.c.id)
            connection.execute(sa.delete(answers).where(answers.c.answer.is_(None), answers.c.process.not_in(alive)))
            now = float(connection.execute(sa.select(clock)).scalar_one())
            made = connection.execute(
                sa.text(
                    "INSERT INTO fastapi_chain_answers (chain, key, payload, process, at) "
                    "VALUES (:chain, :key, :payload, :process, :now) ON CONFLICT (chain, key) DO NOTHING"
                ),
                {"chain": chain, "key": key, "payload": payload, "process": self._link.process, "now": now},
            )
            if made.rowcount:
                return None
            found = connection.execute(
                sa.select(answers.c.payload, answers.c.answer).where(answers.c.chain == chain, answers.c.key == key)
            ).one()
        return Kept(payload=found.payload, answer=None if found.answer is None else _load(found.answer))

    async def keep(self, chain: str, key: str, answer: Answer) -> None:
        """The request has its answer."""
        await self._link(self._keep, chain, key, answer)

    def _keep(self, chain: str, key: str, answer: Answer) -> None:
        with self._link.writing() as connection:
            connection.execute(
                sa.update(answers).where(answers.c.chain == chain, answers.c.key == key).values(answer=_dump(answer))
            )
            old: sa.ColumnElement[float] = sa.literal_column(f"({self._link.database.clock.text})") - AGE
            connection.execute(sa.delete(answers).where(answers.c.at < old))

    async def free(self, chain: str, key: str) -> None:
        """The request has failed: another one may try."""
        await self._link(self._free, chain, key)

    def _free(self, chain: str, key: str) -> None:
        with self._link.writing() as connection:
            connection.execute(sa.delete(answers).where(answers.c.chain == chain, answers.c.key == key))


def _dump(answer: Answer) -> str:
    body = None if answer.body is None else b64encode(answer.body).decode()
    return json.dumps({"status": answer.status, "headers": answer.headers, "body": body})


def _load(text: str) -> Answer:
    doc = json.loads(text)
    headers = tuple((name, value) for name, value in doc["headers"])
    return Answer(status=doc["status"], headers=headers, body=None if doc["body"] is None else b64decode(doc["body"]))
