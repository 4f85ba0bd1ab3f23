"""What a chain costs, measured against the asyncio one would write by hand.

graphs      the graphs: shapes, filled with generated functions
timing      by turns: every case once per round, medians, ratios within a round
contenders  one file per contender: how to say "run this graph" in it
contest     one contender against the hand-written reference
peers       all contenders, each in an environment of its own
goals       the project's own goals, P1 to P16, and what each feature costs
report      tables, for the terminal and for the documentation

`python -m benchmarks --help` tells the rest.
"""
