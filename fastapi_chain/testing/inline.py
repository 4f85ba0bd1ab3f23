"""Chains without HTTP."""

from contextlib import nullcontext

from fastapi_chain.chains import Chain
from fastapi_chain.run import Run

from . import seen
from .roundtrip import through_text


async def run_inline(chain: Chain, /, *, round_trip: bool = False, raise_errors: bool = True, **inputs: object) -> Run:
    """Run *chain* here, and return the finished run.

    Example:
        >>> import asyncio
        >>> from fastapi_chain import chain, task
        >>> @task
        ... async def double(x: int) -> int:
        ...     return 2 * x
        >>> run = asyncio.run(run_inline(chain(double), x=4))
        >>> run[double]
        8

    Args:
        chain: The chain.
        round_trip: Whether every value goes through the text that a durable engine would store: a task further down
            gets what comes back, and what would not come back equal is an error, as in production.
        raise_errors: Whether to raise what failed. False: look into the run for it.
        **inputs: The inputs of the chain.

    Raises:
        Exception: The exception of the task that failed; an `ExceptionGroup` of several.
        RunCancelled: The run was cancelled.
        InvalidChain: Something is wrong with the chain, or a durable engine could not run it.
        MissingInput: An input is missing.
        UnknownInput: A keyword is no input.
    """
    __tracebackhide__ = True
    with chain.altered(through_text(inputs)) if round_trip else nullcontext():
        run = await chain.run(**inputs)
    seen.runs.append(run)
    if raise_errors and run.state != "succeeded":
        _raise(run)
    return run


def _raise(run: Run) -> None:
    __tracebackhide__ = True
    try:
        run.raise_for_error()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
