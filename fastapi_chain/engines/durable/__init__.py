"""The durable engine: every accepted run survives the end of its process, on SQLite or on Postgres, through DBOS.

    names.py      what things are called in the database: queues, workflows, versions
    database.py   connections, and our own tables beside DBOS's
    adapter.py    all contact with DBOS
    documents.py  what has become of a task, as JSON and back
    schema.py     a plan's values as text, and the numbers of its steps
    snapshot.py   a whole run as JSON: what stands at the beginning of a round of retries
    telling.py    events as text and back
    prior.py      how a run has ended, and what one must know that is carried on
    journal.py    what is told of a run, or of a call for one, until the database knows it
    children.py   tasks with workers of their own: `queue=`, `limit=`, `rate=`
    execution.py  one run that runs in this process: the same schedule as in memory, with a checkpoint for each task
    stored.py     what is stored of a run
    link.py       the connections of one engine, and the threads that wait for them
    intake.py     how a run comes in: held, released, dropped, in somebody's transaction
    carrying.py   what a run that runs here has in the database
    looking.py    how runs are found, and what may be done with them from anywhere
    searching.py  looking for runs by what one knows of them
    reading.py    a run as the database knows it, put together
    backend.py    the `RunBackend`: a run here or elsewhere
    plans.py      the plans of the app
    desk.py       what windows on runs ask
    courier.py    carries events out and orders in
    runner.py     the runs of this process
    keeper.py     the heartbeat, and what becomes of the runs of the dead
    keys.py       the idempotency keys of requests
    cron.py       chains that start by themselves
    engine.py     the engine: all of it together

DBOS checkpoints, dequeues and fences. What it lacks without its commercial service is that somebody takes over from a
process that died: that is `keeper.py`.
"""
