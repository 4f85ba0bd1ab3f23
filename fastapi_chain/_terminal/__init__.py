"""What is drawn as text: the graph of a chain, and a run on a time axis, for the command line and the pytest plugin.

styled.py   lines of text in which each piece says what it means, not yet in which colour
view.py     a run as it is drawn, from its JSON document too
words.py    moments, durations and states in words
timeline.py a run: a bar for each task, then what went wrong
frames.py   the lines of the user's own code in a traceback
graph.py    a plan as boxes, as a tree, as Graphviz text, and in numbers
"""

from .graph import boxes, dot, figures, tree
from .styled import Line, Span, Style, plain
from .timeline import draw_run
from .view import RunView, Shown, view_of
from .words import ago, lasted

__all__ = [
    "Line",
    "RunView",
    "Shown",
    "Span",
    "Style",
    "ago",
    "boxes",
    "dot",
    "draw_run",
    "figures",
    "lasted",
    "plain",
    "tree",
    "view_of",
]
