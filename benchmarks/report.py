"""Tables: one line for each finding on the terminal, Markdown for the documentation."""

import json
import platform
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from benchmarks.contest import Score
from benchmarks.goals import Finding, NotMeasured
from benchmarks.graphs import SETS, graph
from benchmarks.peers import PEERS

BEGIN: Final = "<!-- benchmarks: begin -->"
MOST_NAMES: Final = 3
END: Final = "<!-- benchmarks: end -->"
TITLES: Final = {
    "noop": "Tasks that do nothing: µs of CPU time per task",
    "sleep": "Tasks that sleep: length of the run",
    "def": "`def` tasks that do nothing: µs per task",
    "block": "`def` tasks that block: length of the run",
}


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "packages": {
            name: version_of(name) for name in ("fastapi-chain", "fastapi", "starlette", "pydantic", "tenacity")
        },
    }


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.processor()


def version_of(name: str) -> str:
    """Return the version of a distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "of this checkout"


def line(found: Finding | NotMeasured) -> str:
    """Return a finding as a line of the terminal."""
    if isinstance(found, NotMeasured):
        return f"{found.goal:4} {found.what:48} not measured: {found.reason}"
    verdict = "" if found.limit is None else ("met" if found.met else "NOT MET")
    limit = "" if found.limit is None else f"<= {found.limit:g}"
    return f"{found.goal:4} {found.what:48} {figure(found.value):>9} {found.unit:2} {limit:10} {verdict:8} {found.note}"


def figure(value: float) -> str:
    """Return a number with as many digits as it deserves."""
    if abs(value) < 0.0005:
        return "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.2 else 3
    return f"{value:,.{digits}f}"


def goals_table(findings: Iterable[Finding | NotMeasured]) -> list[str]:
    """Return the goals as a Markdown table."""
    lines = ["| goal | what | measured | limit | |", "|---|---|---:|---:|---|"]
    for found in findings:
        if isinstance(found, NotMeasured):
            lines.append(f"| {found.goal} | {found.what} | – | | {found.reason} |")
            continue
        limit = "" if found.limit is None else f"{found.limit:g}"
        missed = "" if found.met else "**not met** "
        lines.append(
            f"| {found.goal} | {found.what} | {figure(found.value)} {found.unit} | {limit} | {missed}{found.note} |"
        )
    return lines


def contest_tables(scores: list[Score]) -> list[str]:
    """Return a table for each set of graphs, and why cells are empty."""
    lines: list[str] = []
    by_place = {(score.contender, score.graph): score for score in scores}
    for name, title in TITLES.items():
        graphs = [graph(each).title for each in SETS[name]]
        if not any(score.graph in graphs for score in scores):
            continue
        lines += [f"### {title}", "", f"| | {' | '.join(graphs)} |", f"|---|{'---:|' * len(graphs)}"]
        for peer in PEERS:
            row = [by_place.get((peer.name, each)) for each in graphs]
            if any(score and score.ratio is not None for score in row):
                lines.append(f"| {peer.title} | {' | '.join(map(cell, row))} |")
        lines.append("")
    return lines + reasons(scores)


def cell(score: Score | None) -> str:
    """Return time and ratio."""
    if score is None or score.ratio is None:
        return "–"
    took = f"{figure(score.run * 1e3)} ms" if score.critical_path else figure(score.per_task * 1e6)
    return f"{took} ×{figure(score.ratio)}"


def reasons(scores: list[Score]) -> list[str]:
    """Say why contenders have no number for a graph."""
    titles = {peer.name: peer.title for peer in PEERS}
    why: dict[tuple[str, str], list[str]] = {}
    for score in scores:
        if score.cannot:
            why.setdefault((score.contender, score.cannot), []).append(score.graph)
    said = [f"- {titles[name]}: {reason} ({few(graphs)})" for (name, reason), graphs in why.items()]
    return ["Without a number:", "", *said, ""] if said else []


def few(graphs: list[str]) -> str:
    """Return the names of graphs, or how many they are."""
    return ", ".join(graphs) if len(graphs) <= MOST_NAMES else f"{len(graphs)} graphs"


def document(page: Path, folder: Path) -> None:
    """Write the saved results between the markers of *page*.

    Raises:
        ValueError: The page has no markers.
    """
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        missing = f"{page} has no line {BEGIN} before a line {END}"
        raise ValueError(missing)
    page.write_text("\n".join([before + BEGIN, "", *saved_tables(folder), end + after]))


def saved_tables(folder: Path) -> list[str]:
    """Return everything that was saved, as Markdown."""
    lines: list[str] = []
    for file, title, made_by in (
        ("goals.json", "Goals, and what each feature costs", "make bench"),
        ("endpoint/goals.json", "A request with background work, beside fastapi-taskflow", "make bench-all"),
    ):
        if (folder / file).exists():
            saved = json.loads((folder / file).read_text())
            found = [(NotMeasured if "reason" in each else Finding)(**each) for each in saved["findings"]]
            lines += [f"### {title}", "", *goals_table(found), "", about(saved["machine"], made_by), ""]
    if (folder / "contest.json").exists():
        saved = json.loads((folder / "contest.json").read_text())
        lines += contest_tables([Score(**each) for each in saved["scores"]])
        lines += [about(saved["machine"], "make bench-all"), ""]
        versions = dict.fromkeys(required.replace("==", " ") for peer in PEERS for required in peer.requires)
        lines += [f"Peers: {', '.join(versions)}.", ""]
    return lines


def about(machine: dict[str, Any], command: str) -> str:
    """Return when, where and how numbers were made."""
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    where = f"Python {machine['python']}, {machine['system']}, {machine['processor']}; {packages}"
    return f"`{command}`, {machine['date']}; {where}."


def with_earlier(found: list[Score], folder: Path) -> list[Score]:
    """Return *found* and the saved scores of others on the same machine, so that contenders can be measured in turn."""
    file = folder / "contest.json"
    saved = json.loads(file.read_text()) if file.exists() else {"machine": {}}
    if any(saved["machine"].get(key) != machine()[key] for key in ("python", "system", "processor")):
        return found
    new = {(score.contender, score.graph) for score in found}
    earlier = [Score(**each) for each in saved["scores"]]
    return [score for score in earlier if (score.contender, score.graph) not in new] + found


def save(folder: Path, name: str, **parts: list[Any]) -> None:
    """Save results as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), **{key: [asdict(each) for each in part] for key, part in parts.items()}}
    (folder / name).write_text(json.dumps(content, indent=1) + "\n")
