"""fastapi-taskflow: its tasks are started by a request, so the whole request is timed (raw ASGI, no network).

It hands no values on; they go through a dict, as a user would have to do it.
"""

from fastapi import Depends, FastAPI
from fastapi_taskflow import TaskManager

from benchmarks.asgi import get
from benchmarks.contenders import Run
from benchmarks.contenders.starlette_background import steps_through_a_dict
from benchmarks.graphs import Graph


def build(graph: Graph) -> Run:
    """Make an app whose endpoint starts the tasks of *graph*."""
    manager = TaskManager()
    steps = [manager.task(retries=0)(step) for step in steps_through_a_dict(graph)]
    app = FastAPI()
    box: dict[str, int] = {}

    @app.get("/run")
    async def start(tasks=Depends(manager.get_tasks)):
        for step in steps:
            tasks.add_task(step, box)
        return {"ok": True}

    async def run(x: int) -> int:
        box.clear()
        box["x"] = x
        await get(app, "/run")
        manager.store._tasks.clear()  # noqa: SLF001 - it keeps every task for ever
        return box[graph.last]

    return run
