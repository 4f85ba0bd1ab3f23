"""A plan as Mermaid text."""

from typing import Annotated

from fastapi_chain import From, chain, task


def test_a_flowchart():
    """Values flow along solid arrows with the names of their parameters; order alone is a dotted one."""

    @task
    async def clean(raw: str) -> list[int]: ...

    @task(after=[clean])
    async def save(clean: list[int], again: Annotated[list[int], From(clean)]) -> int: ...

    @task(each={"line": clean}, after=[save])
    async def ship(line: int) -> int: ...

    @task(each={"line": clean}, name='"quoted"')
    async def pack(line: int, clean: list[int]) -> int: ...

    @task(after=[ship, clean])
    async def notify(ship: list[int]) -> None: ...

    assert chain(notify, pack).to_mermaid() == (
        "flowchart LR\n"
        '    t0["clean"]\n'
        '    t1["save"]\n'
        '    t2["ship × n"]\n'
        '    t3["notify"]\n'
        '    t4["#quot;quoted#quot; × n"]\n'
        "    t0 -->|clean, again| t1\n"
        "    t0 -->|each| t2\n"
        "    t1 -.-> t2\n"
        "    t0 -.-> t3\n"
        "    t2 -->|ship| t3\n"
        "    t0 -->|clean, each| t4\n"
    )
