"""The durable engine: every accepted run survives the end of its process, on SQLite or on Postgres, through DBOS.

    names.py      what things are called in the database: queues, workflows, versions
    database.py   connections, and our own tables beside DBOS's
    adapter.py    all contact with DBOS
    schema.py     a plan's values as text, and the numbers of its steps
    documents.py  what has become of a task, as JSON and back
    execution.py  one run that runs in this process: the same schedule as in memory, with a checkpoint for each task
    store.py      what is asked of the database about runs: hold, release, cancel, retry, look up
    reading.py    a run as the database knows it
    backend.py    the `RunBackend`: a run here or elsewhere
    courier.py    tells the database of events, and the run of orders
    keeper.py     the heartbeat, and what becomes of the runs of the dead
    engine.py     the engine itself

DBOS checkpoints, dequeues and fences. What it lacks without its commercial service is that somebody takes over from a process that died:
that is `keeper.py`.
"""
