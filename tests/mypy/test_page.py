"""The page about static checks: its one table holds every rule, and says truly which check finds what."""

import re

import pytest

PAGE = "docs/guide/static-checks.md"


@pytest.fixture
def rules(tools):
    """The rows of the table: what is wrong, codes, start-up, plugin, typecheck."""
    text = (tools.ROOT / PAGE).read_text()
    table = text[text.index("| what is wrong |") : text.index("Where the value of a parameter")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.strip().splitlines()[2:]]


def test_every_rule_has_a_section_in_the_errors(rules, tools):
    """The codes are those of docs/errors.md."""
    anchors = set(re.findall(r"\{ #([\w-]+) \}", (tools.ROOT / "docs/errors.md").read_text()))
    codes = {code for row in rules for code in re.findall(r"`([\w-]+)`", row[1])}
    assert len(codes) > 15
    assert codes <= anchors


def test_every_code_of_a_planted_mistake_is_in_the_table(rules, tools):
    """Each mistake of the programs falls under a rule; what the table says the plugin finds, it finds in some program."""
    by_words = {
        "type-mismatch": r"takes .* as ",
        "missing-input": r"starts a chain that needs",
        "unknown-parameter": r"Nothing provides",
        "not-upstream": r"does not come before it",
        "ambiguous-producer": r"provide '",
        "cycle": r"wait",
        "plan": r"could take the item|certainly takes it|can never run|has run_if=|it can name only|positional-only|no such input",
        "closed-input": r"is closed before",
        "decorator-order": r"stands above",
        "duplicate-task": r"are both called",
        "generator-task": r"is a generator",
        "method-task": r"is a method of class",
        "declaration": r"cannot be a task|two @chain",
        "streaming-endpoint": r"piece by piece",
    }
    texts = [mark.text for program in tools.MISTAKES for mark in program.marks("EP")]
    found = {code for code, words in by_words.items() for text in texts if re.search(words, text)}
    by_plugin = {code for row in rules if row[3] == "✓" for code in re.findall(r"`([\w-]+)`", row[1])}
    assert by_plugin - {"unknown-input"} == found == set(by_words)
