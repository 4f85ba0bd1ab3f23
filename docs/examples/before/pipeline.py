"""A pipeline of taskiq, as it was before."""

from taskiq import InMemoryBroker
from taskiq_pipelines import Pipeline, PipelineMiddleware

broker = InMemoryBroker().with_middlewares(PipelineMiddleware())


@broker.task
def add_one(value: int) -> int:
    return value + 1


@broker.task
def repeat(value: int, reps: int) -> list[int]:
    return [value] * reps


@broker.task
def bigger(value: int) -> int:
    return value + 1


@broker.task
def check(value: int) -> bool:
    return value >= 0


async def number() -> list[int]:
    # --8<-- [start:pipe]
    pipe = Pipeline(broker, add_one).call_next(repeat, reps=4).map(bigger).filter(check)
    task = await pipe.kiq(1)
    # --8<-- [end:pipe]
    result = await task.wait_result(timeout=10)
    return result.return_value
