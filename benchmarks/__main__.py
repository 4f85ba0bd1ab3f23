"""The commands: the project's goals, or the contest with other libraries.

python -m benchmarks                        the goals (make bench)
python -m benchmarks --only features,stall  some of them
python -m benchmarks --all                  the contest (make bench-all)
python -m benchmarks --all --peers langgraph,hamilton --graphs noop,diamond/def
python -m benchmarks --document docs/performance.md
"""

import argparse
import asyncio
import importlib
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.contest import Score, in_words
from benchmarks.goals import SUBJECTS, Finding, NotMeasured
from benchmarks.graphs import SETS
from benchmarks.peers import CACHE, PEERS, NotInstalled, goals_beside, scores
from benchmarks.timing import TINY, Effort

FAST = Effort(rounds=21, sample=0.012, budget=2.0)
CONTEST = Effort(rounds=15, sample=0.006, budget=1.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 1 if a goal was not met and `--strict` was given."""
    options = parse(arguments)
    if options.document:
        report.document(options.document, options.results)
        return 0
    if options.all:
        contest(options.peers, options.graphs, TINY if options.tiny else CONTEST, options.results)
        return 0
    found = asyncio.run(goals(options.only, TINY if options.tiny else FAST, options.results))
    missed = [each for each in found if not isinstance(each, Finding) or not each.met]
    return 1 if options.strict and missed else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    words = lambda text: text.split(",")  # noqa: E731 - a type for argparse
    parser.add_argument("--only", type=words, default=list(SUBJECTS), help=f"of {','.join(SUBJECTS)}")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a goal is not met")
    parser.add_argument("--all", action="store_true", help="the contest instead of the goals")
    parser.add_argument("--peers", type=words, default=[peer.name for peer in PEERS], help="contenders of the contest")
    parser.add_argument("--graphs", type=words, default=list(SETS), help=f"graphs, or sets of {','.join(SETS)}")
    parser.add_argument("--tiny", action="store_true", help="one run each, just to see that everything works")
    parser.add_argument("--results", type=Path, default=CACHE / "results", help="where results are saved")
    parser.add_argument("--document", type=Path, help="write the saved results into this page and stop")
    return parser.parse_args(arguments)


async def goals(subjects: list[str], effort: Effort, results: Path) -> list[Finding | NotMeasured]:
    """Measure the goals and print each."""
    found: list[Finding | NotMeasured] = []
    for subject in subjects:
        async for each in findings(subject, effort):
            print(report.line(each), flush=True)
            found.append(each)
    report.save(results, "goals.json", findings=found)
    judged = [each for each in found if isinstance(each, Finding) and each.limit is not None]
    print(f"{sum(each.met for each in judged)} of {len(judged)} met, {len(found) - len(judged)} not judged")
    return found


async def findings(subject: str, effort: Effort) -> AsyncIterator[Finding | NotMeasured]:
    """Yield what a subject finds; an error ends only that subject."""
    try:
        async for found in importlib.import_module(f"benchmarks.goals.{subject}").measure(effort):
            yield found
    except Exception as error:  # noqa: BLE001 - the others go on
        yield NotMeasured("", subject, in_words(error))


def contest(peers: list[str], graphs: list[str], effort: Effort, results: Path) -> list[Score]:
    """Let the contenders run, print each score and then the tables."""
    names = [name for each in graphs for name in SETS.get(each, [each])]
    found: list[Score] = []
    for peer in PEERS:
        if peer.name not in peers:
            continue
        for score in scores(peer, names, effort):
            print(f"{score.contender:22} {score.graph:18} {score.cannot or report.cell(score)}", flush=True)
            found.append(score)
    report.save(results, "contest.json", scores=report.with_earlier(found, results))
    if "fastapi_taskflow" in peers and effort != TINY:
        try:
            goals_beside("fastapi_taskflow", "endpoint", results / "endpoint")
        except NotInstalled as reason:
            print("endpoint beside fastapi-taskflow:", reason)
    print("", *report.saved_tables(results), sep="\n")
    return found


if __name__ == "__main__":
    sys.exit(main())
