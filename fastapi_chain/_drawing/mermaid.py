"""A plan as Mermaid text: what GitHub, mkdocs and many editors draw."""

from fastapi_chain.plan import Node, Plan


def mermaid(plan: Plan) -> str:
    """Return a flowchart: a solid arrow hands a value on and names its parameter, a dotted one only sets the order."""
    lines = ["flowchart LR"]
    lines += [f'    t{node.index}["{_text(node)}"]' for node in plan.nodes]
    for node in plan.nodes:
        taken: dict[int, list[str]] = {}
        for fill in node.fills:
            if fill.kind == "task":
                taken.setdefault(fill.slot, []).append(fill.param.name)
        if node.over is not None:
            taken.setdefault(node.over, []).append("each")
        for parent in sorted({*taken, *node.parents}):
            names = ", ".join(taken.get(parent, ()))
            lines.append(f"    t{parent} -->|{names}| t{node.index}" if names else f"    t{parent} -.-> t{node.index}")
    return "\n".join(lines) + "\n"


def _text(node: Node) -> str:
    name = node.name.replace('"', "#quot;")
    return f"{name} × n" if node.over is not None else name
