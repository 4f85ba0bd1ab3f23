"""The five verbs of this library, as a chain: its drawing is the one in "How a run works"."""

from fastapi import FastAPI
from fastapi_chain import Registry, chain

app = FastAPI()
verbs = Registry("verbs")


@verbs.task
def declare() -> list[str]:
    return ["charge", "receipt"]


@verbs.task(after=[declare])
def plan(declare: list[str]) -> list[str]:
    return sorted(declare)


@verbs.task(after=[plan])
def schedule(plan: list[str]) -> str:
    return plan[0]


@verbs.task(after=[schedule])
def execute(schedule: str) -> str:
    return f"{schedule} returned"


@verbs.task(after=[execute])
def observe(execute: str) -> None:
    print(execute)


how_a_run_works = chain(observe, name="how_a_run_works")
