"""FastAPI's `Depends` for tasks: opened before an attempt, closed after it.

    injection.py  what the rest of the library sees: `compile_injection`, `Injection`
    recipe.py     a tree of dependencies -> the calls to make, in order; pure
    opening.py    a recipe as code: on the loop, or whole inside a worker thread
    solving.py    what a recipe cannot say: FastAPI's own solver does it
    frame.py      what both share: one attempt, and the types of what is handed around

The dependencies of an attempt are opened, used and closed in one asyncio task (or one call in a thread); the exception
of the task travels through them; nothing is shared with another attempt, another task or another run.
"""

from .frame import Environment, Hop, Slots
from .injection import Injection, compile_injection

__all__ = ["Environment", "Hop", "Injection", "Slots", "compile_injection"]
