"""The dashboard: pages that show the runs of an app, and let one retry and cancel them.

They are made on the server, work without script, and ask nothing of other machines.

    router.py       the routes, behind one guard
    guard.py        who may see the pages; the headers of every response
    host.py         what the pages need of the runtime
    site.py         the pages, from a request to a response
    run_page.py     what the page of a run shows:
      subject.py      a run, read without making a record of each of its ten thousand items
      headline.py     what went wrong, in one line
      graph.py        the graph with its states
      timeline.py     a bar for each attempt; axis.py places them
      log.py          what tasks wrote, and what became of their attempts
      panel.py        one task: failure.py, values.py, items.py, definition.py
    runs.py         the list of runs
    catalogue.py    chains and tasks; stats.py: how they have done lately
    live.py         what an open page hears while a run goes on
    pages.py        templates to pages: the only contact with Jinja2
    assets.py       the static files
    words.py        how numbers, times and reasons are said; task_words.py: in one line about a task

`templates/` is the HTML, `static/` the style sheet, a few lines of script, and htmx (static/VENDOR.md).
"""

from .host import Host
from .router import Dashboard

__all__ = ["Dashboard", "Host"]
