"""An app with a database, for a real server: each request writes a row, and its chain looks whether it is there."""

import os
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from sqlalchemy import create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from fastapi_chain import chain, install, task


class Base(DeclarativeBase):
    """The tables."""


class Row(Base):
    """A row that an endpoint writes."""

    __tablename__ = "rows"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


engine = create_engine(os.environ["SHOP_DATABASE"], connect_args={"timeout": 60})
seen: list[tuple[int, str | None]] = []


@event.listens_for(engine, "connect")
def quick(connection: Any, _record: Any) -> None:
    """Do not wait for the disk, which the tests are not about; the order of commits stays."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=OFF")
    cursor.close()


Base.metadata.create_all(engine)


def get_session() -> Iterator[Session]:
    with Session(engine) as db:
        yield db
        db.commit()


Db = Annotated[Session, Depends(get_session)]
app = FastAPI()


@task
def look(n: int, db: Db) -> None:
    seen.append((n, db.scalar(select(Row.name).where(Row.id == n))))


@app.post("/rows", status_code=202)
@chain(look)
async def write(n: int, name: str, db: Db) -> int:
    db.add(Row(id=n, name=name))
    return n


@app.get("/seen")
async def get_seen() -> list[tuple[int, str | None]]:
    return seen


if os.environ.get("SHOP_INSTALL"):
    install(app)
