"""Document ingestion: one call for each chunk, at most four at once, with progress; a thumbnail that may fail."""

from typing import Annotated

from fastapi import Depends, FastAPI, UploadFile
from fastapi_chain import Progress, Registry, chain, install
from pydantic import BaseModel

app = FastAPI()
runtime = install(app)
app.include_router(runtime.router(), prefix="/chains")
documents = Registry("documents")


class Document(BaseModel):
    name: str
    text: str


class Chunk(BaseModel):
    number: int
    text: str


class Vector(BaseModel):
    chunk: int
    values: list[float]


class Embedder:
    """The model that turns text into numbers; a real one is called over the network."""

    async def embed(self, text: str) -> list[float]:
        return [float(len(text)), float(text.count(" "))]


def get_embedder() -> Embedder:
    return Embedder()


store: dict[str, list[Vector]] = {}


@documents.task
def chunks(document: Document, progress: Progress) -> list[Chunk]:
    words = document.text.split()
    return [
        Chunk(number=i, text=" ".join(words[i * 3 : i * 3 + 3]))
        for i in progress.track(range((len(words) + 2) // 3), text="cutting")
    ]


@documents.task(each=chunks, limit=4, retries=4, timeout=30.0)
async def vector(chunk: Chunk, embedder: Annotated[Embedder, Depends(get_embedder)]) -> Vector:
    """Runs once for each chunk: `chunk` is the one parameter that fits an item of `chunks`."""
    return Vector(chunk=chunk.number, values=await embedder.embed(chunk.text))


@documents.task(after=[vector])
async def stored(vector: list[Vector], document: Document) -> int:
    """Takes the results of all calls, in the order of the chunks."""
    store[document.name] = vector
    return len(vector)


@documents.task(optional=True)
def thumbnail(document: Document) -> bytes:
    if document.name.endswith(".txt"):
        text = "a text has no picture"
        raise ValueError(text)
    return b"PNG"


@documents.task(after=[stored, thumbnail])
async def announce(stored: int, document: Document, thumbnail: bytes | None = None) -> str:
    """The default stands in for a thumbnail that failed."""
    return f"{document.name}: {stored} chunks, {'with' if thumbnail else 'without'} a thumbnail"


@app.post("/documents", status_code=202)
@chain(announce, returns="document", expose_result=True)
async def upload(file: UploadFile) -> Document:
    """An upload is closed when the request is over, so the endpoint returns what is in it, as the input `document`."""
    return Document(name=file.filename or "", text=(await file.read()).decode())
