"""A task of fastapi-taskflow, as it was before."""

from fastapi import BackgroundTasks, FastAPI
from fastapi_taskflow import TaskManager

task_manager = TaskManager()
app = FastAPI()
task_manager.install(app)


# --8<-- [start:task]
@task_manager.task(retries=3, delay=1.0, backoff=2.0)
def send_email(address: str) -> None:
    print(f"welcome, {address}")


@app.post("/signup")
def signup(address: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    task_id = background_tasks.add_task(send_email, address=address)
    return {"task_id": task_id}


# --8<-- [end:task]
