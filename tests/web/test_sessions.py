"""Sessions that a dependency commits: what the endpoint wrote is there for the first task, or no task starts."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from fastapi_chain import chain, install, task

MANY = 200
"""Requests at once."""

FAILING = 50
"""Requests whose commit fails."""


class Base(DeclarativeBase):
    """The tables."""


class Row(Base):
    """A row that an endpoint writes."""

    __tablename__ = "rows"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


def quick(connection: Any, _record: Any) -> None:
    """Do not wait for the disk, which these tests are not about; the order of commits stays."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=OFF")
    cursor.close()


@pytest.fixture
def database(tmp_path) -> Iterator[Engine]:
    """Return a database with a table."""
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}", connect_args={"timeout": 60})
    event.listen(engine, "connect", quick)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def sync_app(engine: Engine, seen: list[tuple[int, str | None]]) -> FastAPI:
    """Return an app of `def`: sessions in threads, for endpoint and task alike."""

    def session() -> Iterator[Session]:
        with Session(engine) as db:
            yield db
            db.commit()

    @task
    def look(n: int, db: Annotated[Session, Depends(session)]) -> None:
        seen.append((n, db.scalar(select(Row.name).where(Row.id == n))))

    app = FastAPI()

    @app.post("/")
    @chain(look)
    def endpoint(n: int, name: str, db: Annotated[Session, Depends(session)]) -> int:
        db.add(Row(id=n, name=name))
        return n

    return app


def async_app(engine: Engine, seen: list[tuple[int, str | None]]) -> FastAPI:
    """Return an app of `async def`."""
    database = create_async_engine(
        engine.url.set(drivername="sqlite+aiosqlite"), connect_args={"timeout": 60}, pool_size=8, pool_timeout=60
    )
    event.listen(database.sync_engine, "connect", quick)

    async def session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(database) as db:
            yield db
            await db.commit()

    @task
    async def look(n: int, db: Annotated[AsyncSession, Depends(session)]) -> None:
        seen.append((n, await db.scalar(select(Row.name).where(Row.id == n))))

    app = FastAPI()

    @app.post("/")
    @chain(look)
    async def endpoint(n: int, name: str, db: Annotated[AsyncSession, Depends(session)]) -> int:
        db.add(Row(id=n, name=name))
        return n

    app.state.close = database.dispose
    return app


@asynccontextmanager
async def serving(server: Any, app: FastAPI, installed: bool) -> AsyncIterator[Any]:
    if installed:
        install(app)
        async with server(app).lifespan() as client:
            yield client
    else:
        yield server(app)
    if hasattr(app.state, "close"):
        await app.state.close()


in_every_way = pytest.mark.parametrize(
    ("make", "installed"), [(sync_app, False), (sync_app, True), (async_app, False), (async_app, True)]
)


@in_every_way
@pytest.mark.timeout(120)
def test_what_an_endpoint_wrote_is_there_for_the_first_task(server, database, make, installed):
    """In every one of many requests at once (with a real server and 1,000 of them: tests/acceptance)."""
    seen: list[tuple[int, str | None]] = []
    app = make(database, seen)

    async def main() -> None:
        async with serving(server, app, installed) as client:
            answers = await asyncio.gather(*(client.post(f"/?n={n}&name=row-{n}") for n in range(MANY)))
            assert {answer.status for answer in answers} == {200}

    asyncio.run(main())
    assert sorted(seen) == [(n, f"row-{n}") for n in range(MANY)]


@in_every_way
@pytest.mark.timeout(120)
def test_no_task_starts_for_a_request_whose_commit_fails(server, database, make, installed):
    """In none of many requests; the constraint is looked at when the endpoint has long returned."""
    seen: list[tuple[int, str | None]] = []
    app = make(database, seen)

    async def main() -> None:
        async with serving(server, app, installed) as client:
            await client.post("/?n=0&name=taken")
            requests = (client.post(f"/?n={n}&name=taken") for n in range(1, FAILING + 1))
            errors = await asyncio.gather(*requests, return_exceptions=True)
            assert {type(error) for error in errors} == {IntegrityError}

    asyncio.run(main())
    assert seen == [(0, "taken")]
