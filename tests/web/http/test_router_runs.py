"""Runs over HTTP: shown, listed, waited for, cancelled, retried."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, SecretStr

from fastapi_chain import Progress, Registry, Run, Skip, chain, install, task


def shop(**options: Any) -> tuple[FastAPI, Any]:
    """Return an app with a runtime whose router is at /chains."""
    app = FastAPI()
    runtime = install(app, **options)
    app.include_router(runtime.router(), prefix="/chains")
    return app, runtime


def test_a_run_is_shown_as_the_contract_says(serving):
    """Every field is there, with the values that belong to it."""
    app, _ = shop()

    @task
    async def clean(raw: int) -> int:
        return raw

    @task(after=[clean], retries=2, backoff=0.001)
    async def save(clean: int, seen: list[int] = []) -> None:  # noqa: B006 - it counts
        seen.append(clean)
        if len(seen) < 2:
            raise OSError("down")

    @app.post("/data", status_code=202)
    @chain(save, tags={"raw": "{raw}"})
    async def ingest(raw: int) -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            begun = await client.post("/data?raw=3")
            run = await client.finished(begun.headers["location"])
            at = f"/chains/runs/{run['id']}"
            assert len(run["id"]) == 32
            assert {name: run[name] for name in ("chain", "state", "done", "reason", "counts", "progress", "tags")} == {
                "chain": "ingest",
                "state": "succeeded",
                "done": True,
                "reason": None,
                "counts": {"succeeded": 2},
                "progress": 1.0,
                "tags": {"raw": "3"},
            }
            assert (run["started_by"], run["trace_id"], run["error"]) == ("POST /data", None, None)
            assert run["links"] == {
                "self": at,
                "events": f"{at}/events",
                "result": f"{at}/result",
                "cancel": None,
                "retry": f"{at}/retry",
            }
            moments = [datetime.fromisoformat(run[f"{name}_at"]) for name in ("created", "started", "finished")]
            assert moments == sorted(moments)
            assert run["duration_ms"] == pytest.approx((moments[2] - moments[1]).total_seconds() * 1000, abs=0.01)
            first, second = run["tasks"]
            assert (first["name"], first["after"], first["attempt"], first["max_attempts"]) == ("clean", [], 1, 1)
            assert (second["after"], second["attempt"], second["max_attempts"]) == (["clean"], 2, 3)
            failed, succeeded = second["attempts"]
            hidden = {
                "type": "about:blank",
                "title": "Error",
                "detail": f"What went wrong is in the server's log, under run {run['id'][:8]}.",
                "task": "save",
            }
            assert (failed["n"], failed["state"], failed["error"], failed["backoff_ms"]) == (1, "failed", hidden, None)
            assert (succeeded["n"], succeeded["state"], succeeded["error"]) == (2, "succeeded", None)
            assert succeeded["backoff_ms"] > 0
            assert "down" not in str(run)

    asyncio.run(main())


def test_errors_are_shown_where_that_is_wanted(serving):
    """With `expose_errors=True`, a run says which task failed, with the exception's class, text and traceback."""
    app, _ = shop(expose_errors=True)

    @task
    async def other() -> None: ...

    @task(optional=True)
    async def extra() -> None:
        raise KeyError("extra")

    @task
    async def save() -> None:
        raise OSError("down")

    @app.post("/data", status_code=202)
    @chain(other, extra, save)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            run = await client.finished((await client.post("/data")).headers["location"])
            error = {"type": "about:blank", "title": "OSError", "detail": "down", "task": "save"}
            assert (run["state"], run["error"]) == ("failed", error)
            assert run["counts"] == {"succeeded": 1, "failed": 2}
            told = run["tasks"][-1]["error"]
            where = told.pop("traceback")
            assert told == error
            assert where.startswith("Traceback (most recent call last):\n")
            assert where.endswith('    raise OSError("down")\n')
            (listed,) = (await client.get("/chains/runs")).json()["items"]
            assert listed["tasks"][-1]["error"] == {**error, "traceback": None}

    asyncio.run(main())


@pytest.mark.parametrize("exposed", [False, True])
def test_an_undo_that_failed_is_shown(serving, exposed):
    """With its task and its item, in as many words as other errors; a fan-out tells of the first of its items."""
    app, _ = shop(expose_errors=exposed)

    def take_back() -> None:
        raise OSError("no refund")

    @task(undo=take_back)
    async def charge() -> list[int]:
        return [1]

    @task(each=charge, undo=take_back)
    async def ship(n: int) -> int:
        return n

    @task(after=[ship])
    async def fails() -> None:
        raise ValueError

    @app.post("/data", status_code=202)
    @chain(fails)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            run = await client.finished(at)
            hidden = f"What went wrong is in the server's log, under run {run['id'][:8]}."
            words = ("OSError", "no refund") if exposed else ("Error", hidden)
            (listed,) = (await client.get("/chains/runs")).json()["items"]
            for tasks in (run["tasks"], listed["tasks"]):
                assert [(one["state"], one["undone"]) for one in tasks] == [
                    ("succeeded", False),
                    ("succeeded", False),
                    ("failed", False),
                ]
                errors = [one["undo_error"] for one in tasks]
                error = {"type": "about:blank", "title": words[0], "detail": words[1]}
                assert errors == [{**error, "task": "charge"}, {**error, "task": "ship"}, None]
            item = (await client.get(f"{at}/tasks/ship[0]")).json()
            assert item["undo_error"] == {**error, "task": "ship[0]"}

    asyncio.run(main())


def test_a_run_that_ran_out_of_time_says_so(serving):
    """Its error is that of the run as a whole, and belongs to no task."""
    app, _ = shop(expose_errors=True)

    @task
    async def sleep() -> None:
        await asyncio.Event().wait()

    @app.post("/data", status_code=202)
    @chain(sleep, deadline=0.01)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            run = await client.finished((await client.post("/data")).headers["location"])
            assert (run["state"], run["reason"]) == ("failed", "deadline")
            assert (run["error"]["title"], run["error"]["task"]) == ("DeadlineExceeded", None)
            assert (run["tasks"][0]["state"], run["tasks"][0]["cancel_reason"]) == ("cancelled", "deadline")

    asyncio.run(main())


def test_skipped_tasks_say_why(serving):
    """The reason names the root cause, or the text of `Skip`; a skipped run has succeeded."""
    app, _ = shop()

    @task
    async def look() -> int:
        raise Skip("nothing new")

    @task(after=[look])
    async def tell(look: int) -> None: ...

    @app.post("/data", status_code=202)
    @chain(tell)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            run = await client.finished((await client.post("/data")).headers["location"])
            assert run["state"] == "succeeded"
            assert [one["skip_reason"] for one in run["tasks"]] == ["skip: nothing new", "upstream_skipped: look"]

    asyncio.run(main())


def test_a_run_that_goes_on_shows_how_far_it_is(serving):
    """Progress of a task counts in part, items of a fan-out by their number; there is no end yet."""
    app, _ = shop()
    going: dict[str, asyncio.Event] = {}

    @task
    async def lines() -> list[int]:
        return [1, 2, 3, 4]

    @task(each=lines)
    async def ship(line: int) -> int:
        if line > 3:
            await going["on"].wait()
        return line

    @task
    async def count(progress: Progress) -> None:
        progress(1, 4, "first of four")
        await going["on"].wait()

    @task
    async def wait(progress: Progress) -> None:
        progress(7)
        going["begun"].set()
        await going["on"].wait()

    @app.post("/data", status_code=202)
    @chain(ship, count, wait)
    async def ingest() -> None: ...

    async def main() -> None:
        going.update(on=asyncio.Event(), begun=asyncio.Event())
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            await going["begun"].wait()
            for _ in range(20):
                await asyncio.sleep(0)
            answer = await client.get(at)
            run = answer.json()
            assert answer.headers["retry-after"] == "1"
            assert (run["state"], run["done"], run["finished_at"], run["duration_ms"]) == ("running", False, None, None)
            # One of four is over, three quarters of the next, a quarter of the third, and nothing is known of the last.
            assert run["progress"] == 0.5
            by_name = {one["name"]: one for one in run["tasks"]}
            assert by_name["count"]["progress"] == {"done": 1.0, "total": 4.0, "text": "first of four"}
            assert by_name["ship"]["item_counts"] == {"running": 1, "succeeded": 3}
            assert [one["name"] for one in by_name["ship"]["items"]] == [f"ship[{k}]" for k in range(4)]
            assert run["links"]["cancel"] == f"{at}/cancel"
            assert run["links"]["retry"] is None
            going["on"].set()
            assert (await client.finished(at))["progress"] == 1.0

    asyncio.run(main())


def test_tasks_and_items_have_pages_of_their_own(serving):
    """`ship[2]` is one item; what is not there is a 404 problem."""
    app, _ = shop()

    @task
    async def lines(n: int) -> list[int]:
        return list(range(n))

    @task(each=lines, retries=1, backoff=0)
    async def ship(line: int) -> int:
        return line

    @app.post("/data", status_code=202)
    @chain(ship)
    async def ingest(n: int) -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            at = (await client.post("/data?n=201")).headers["location"]
            run = await client.finished(at)
            # Too many to be listed with their run.
            assert run["tasks"][1]["items"] is None
            assert run["tasks"][1]["item_counts"] == {"succeeded": 201}
            whole = (await client.get(f"{at}/tasks/ship")).json()
            assert len(whole["items"]) == 201
            item = (await client.get(f"{at}/tasks/ship[2]")).json()
            assert (item["name"], item["max_attempts"], item["attempts"][0]["n"]) == ("ship[2]", 2, 1)
            assert item == whole["items"][2]
            for wrong in ("nope", "ship[201]", "ship[02]", "ship[x]", "lines[0]", "ship["):
                answer = await client.get(f"{at}/tasks/{wrong}")
                assert (answer.status, answer.slug) == (404, "task-not-found"), wrong
            listed = (await client.get("/chains/runs")).json()["items"][0]
            assert listed["tasks"][1]["items"] is None

    asyncio.run(main())


def test_a_run_that_nobody_knows_is_not_found(serving):
    """The 404 says what the memory engine knows, and names the cure."""
    app, _ = shop()

    async def main() -> None:
        async with serving(app) as client:
            answer = await client.get("/chains/runs/7f3a")
            assert (answer.status, answer.slug) == (404, "run-not-found")
            assert answer.json()["title"] == "Not Found"
            assert answer.json()["detail"] == (
                "There is no run '7f3a'. Engine 'memory' knows the last finished runs of this one process. Fix: keep "
                'runs for all processes and restarts: install(app, engine="sqlite:///chains.db")'
            )

    asyncio.run(main())


def test_etags_and_long_polls(serving):
    """304 while nothing has changed, at once or after the wait; 200 as soon as something does; `wait` is capped."""
    app, _ = shop()
    going: dict[str, asyncio.Event] = {}

    @task(retries=1, backoff=0)
    async def first() -> None:
        await going["one"].wait()

    @task(after=[first])
    async def second() -> None:
        await going["two"].wait()

    @app.post("/data", status_code=202)
    @chain(second)
    async def ingest() -> None: ...

    async def main() -> None:
        going.update(one=asyncio.Event(), two=asyncio.Event())
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            shown = await client.get(at)
            tag = shown.headers["etag"]
            unchanged = await client.get(at, if_none_match=f'"other", W/{tag}')
            assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", tag)
            assert (await client.get(at, if_none_match="*")).status == 304
            timed_out = await client.get(at, if_none_match=tag, prefer="respond-async, wait=1")
            assert (timed_out.status, timed_out.headers["preference-applied"]) == (304, "wait=1")
            waiting = client.start("GET", at, if_none_match=tag, prefer="wait=99")
            going["one"].set()
            changed = await waiting.end()
            assert (changed.status, changed.headers["preference-applied"]) == (200, "wait=30")
            assert changed.headers["etag"] != tag
            assert changed.json()["tasks"][0]["state"] == "succeeded"
            # Who knows nothing yet waits for the end.
            ending = client.start("GET", at, prefer="wait=20")
            going["two"].set()
            ended = await ending.end()
            assert ended.json()["state"] == "succeeded"
            assert "retry-after" not in ended.headers
            last = await client.get(at, if_none_match=ended.headers["etag"], prefer="wait=20")
            assert last.status == 304

    asyncio.run(main())


def test_lists_are_filtered(serving):
    """By state, chain, tag, text and time, all of them together; what makes no sense is a 422 problem."""
    app, _ = shop()

    @task
    async def save(n: int) -> None:
        if n == 2:
            raise OSError

    @app.post("/data", status_code=202)
    @chain(save, name="ingest", tags={"n": "{n}", "kind": "data"})
    async def data(n: int) -> None: ...

    @app.post("/other", status_code=202)
    @chain(save, name="other")
    async def other(n: int) -> None: ...

    async def main() -> None:
        before = datetime.now(UTC)
        async with serving(app) as client:
            ids = {}
            for name, url in (("a", "/data?n=1"), ("b", "/data?n=2"), ("c", "/other?n=3")):
                at = (await client.post(url)).headers["location"]
                ids[(await client.finished(at))["id"]] = name

            async def found(query: str) -> str:
                answer = await client.get(f"/chains/runs?{query}")
                assert answer.status == 200, answer.body
                return "".join(ids[run["id"]] for run in answer.json()["items"])

            a = next(run for run, name in ids.items() if name == "a")
            table = {
                "": "cba",  # the newest first
                # A form sends what is left empty, too.
                "state=&chain=&tag=&q=&since=&limit=&cursor=": "cba",
                "state=&state=failed": "b",
                "state=failed": "b",
                "state=failed&state=succeeded": "cba",
                "state=running": "",
                "chain=ingest": "ba",
                "chain=nope": "",
                "tag=n:1": "a",
                "tag=n:1&tag=kind:data": "a",
                "tag=n:1&tag=kind:other": "",
                "q=DATA": "ba",  # the tag of one kind, and the route
                "q=POST /OTHER".replace(" ", "%20"): "c",
                f"q={a[:12]}": "a",
                f"since={before.isoformat().replace('+00:00', '')}": "cba",  # without a zone it is UTC
                f"since={(before + timedelta(hours=1)).isoformat().replace('+', '%2B')}": "",
                "state=failed&chain=ingest&tag=n:2&q=ingest": "b",
            }
            for query, expected in table.items():
                assert await found(query) == expected, query
            for query in ("state=odd", "tag=n", "limit=0", "limit=201", "since=soon", "cursor=%21", "cursor=YWJj"):
                answer = await client.get(f"/chains/runs?{query}")
                assert (answer.status, answer.slug) == (422, "cursor" if "cursor" in query else "request"), query

    asyncio.run(main())


def test_lists_come_in_pages(serving):
    """Each cursor leads to the next page, whatever has been added meanwhile, until there is none."""
    app, _ = shop()

    @task
    async def save() -> None: ...

    @app.post("/data", status_code=202)
    @chain(save)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            made = [(await client.post("/data")).headers["x-chain-run"] for _ in range(5)]
            seen = []
            query = "limit=2"
            while True:
                page = (await client.get(f"/chains/runs?{query}")).json()
                seen.append([run["id"] for run in page["items"]])
                if page["next_cursor"] is None:
                    break
                await client.post("/data")
                query = f"limit=2&cursor={page['next_cursor']}"
            assert seen == [made[:2:-1], made[2:0:-1], made[:1]]

    asyncio.run(main())


def test_hidden_runs_are_nowhere(serving):
    """What `visible` hides is not listed, and neither shown, streamed, cancelled nor retried; it may be async."""
    app = FastAPI()
    runtime = install(app)

    async def own(request: Request, run: Run) -> bool:
        return run.tags["owner"] == request.headers["user"]

    app.include_router(runtime.router(visible=own), prefix="/mine")
    app.include_router(runtime.router(visible=lambda _request, run: run.state == "failed"), prefix="/failed")

    @task
    async def save() -> None: ...

    @app.post("/data", status_code=202)
    @chain(save, tags={"owner": "{owner}"})
    async def ingest(owner: str) -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            made = [(await client.post(f"/data?owner={name}")).headers["location"] for name in ("ann", "bob", "ann")]
            assert made[0].startswith("/mine/runs/")
            page = (await client.get("/mine/runs?limit=1", user="ann")).json()
            assert [run["links"]["self"] for run in page["items"]] == [made[2]]
            page = (await client.get(f"/mine/runs?limit=1&cursor={page['next_cursor']}", user="ann")).json()
            assert [run["links"]["self"] for run in page["items"]] == [made[0]]
            assert (await client.get(made[1], user="bob")).status == 200
            for method, end in (("GET", ""), ("GET", "/events"), ("GET", "/tasks/save"), ("GET", "/result")):
                answer = await client.start(method, made[1] + end, user="ann").end()
                assert (answer.status, answer.slug) == (404, "run-not-found")
            for end in ("/cancel", "/retry"):
                assert (await client.post(made[1] + end, user="ann")).status == 404
            assert (await client.get("/failed/runs")).json() == {"items": [], "next_cursor": None}

    asyncio.run(main())


def test_every_route_is_guarded(serving):
    """A dependency of the router guards each of its routes, streams included."""
    app = FastAPI()
    runtime = install(app)

    def guard() -> None:
        raise HTTPException(401)

    app.include_router(runtime.router(), prefix="/chains", dependencies=[Depends(guard)])
    app.include_router(runtime.router(dependencies=[Depends(guard)]), prefix="/own")

    async def main() -> None:
        async with serving(app) as client:
            paths = [(path, method) for path, ways in app.openapi()["paths"].items() for method in ways]
            assert len(paths) == 24
            for path, method in paths:
                url = path.format(run_id="x", task="x", name="x")
                assert (await client.start(method.upper(), url, b"{}").end()).status == 401, path

    asyncio.run(main())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        # No browser has sent it.
        ({}, 404),
        # A page of ours, and the address bar.
        ({"sec_fetch_site": "same-origin"}, 404),
        ({"sec_fetch_site": "none"}, 404),
        # A page of another site, and one of a neighbour.
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        # An older browser names only the origin.
        ({"origin": "http://shop"}, 404),
        ({"origin": "HTTP://Shop"}, 404),
        ({"origin": "http://evil"}, 403),
        ({"origin": "http://shop.evil"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "null", "host": ""}, 403),
        # What is no origin at all.
        ({"origin": ""}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "http://shop:x"}, 403),
        # What the browser says itself is not outweighed by what can be made equal.
        ({"sec_fetch_site": "cross-site", "origin": "http://shop"}, 403),
        # A proxy with its own name for the app tells the one that the client has used; there may be several proxies.
        ({"origin": "https://shop.example", "x_forwarded_host": "shop.example"}, 404),
        ({"origin": "https://shop.example", "x_forwarded_host": "shop.example, inner"}, 404),
        ({"origin": "https://evil.example", "x_forwarded_host": "shop.example"}, 403),
        ({"sec_fetch_site": "cross-site", "origin": "https://evil", "x_forwarded_host": "evil"}, 403),
        # A proxy that changes the host and tells of no other one: a browser's own word is enough.
        ({"sec_fetch_site": "same-origin", "origin": "https://shop.example", "host": "inner:8000"}, 404),
        ({"origin": "https://shop.example", "host": "inner:8000"}, 403),
        # A port belongs to the origin, as far as the host says one.
        ({"origin": "http://shop:8080", "host": "shop:8080"}, 404),
        ({"origin": "http://shop:8080", "host": "shop"}, 404),
        ({"origin": "http://[::1]:8080", "host": "[::1]"}, 404),
        ({"origin": "http://shop:8080", "host": "shop:9090"}, 403),
        ({"origin": "http://shop", "host": "shop:9090"}, 403),
    ],
)
def test_posts_from_other_sites_are_refused(serving, headers, status):
    """Whoever may call the routes is not made to by a page of another site."""
    app, _ = shop()

    async def main() -> None:
        async with serving(app) as client:
            for way in ("cancel", "retry"):
                answer = await client.post(f"/chains/runs/x/{way}", **headers)
                assert answer.status == status
                assert answer.slug == ("run-not-found" if status == 404 else "cross-site")

    asyncio.run(main())


class Card(BaseModel):
    number: SecretStr
    name: str


class Odd:
    def __str__(self) -> str:
        return "odd"


made = Registry("made")


@made.task
async def hidden() -> int:
    return 1


@made.task(after=[hidden])
async def card() -> Card:
    return Card(number=SecretStr("4242"), name="Ann")


@made.task
async def bare():
    return {"at": datetime(2026, 1, 1, tzinfo=UTC), "odd": Odd(), "nan": float("nan")}


@made.task
async def odd() -> Odd:
    return Odd()


@made.task
async def loose() -> object:
    return Odd()


@made.task
async def marked() -> Annotated[int, {}]:
    return 7


@made.task
async def lines() -> list[int]:
    return [1, 2]


@made.task(each=lines)
async def ship(line: int) -> Card:
    return Card(number=SecretStr("1"), name=str(line))


@made.task
async def skipped() -> int:
    raise Skip("no")


def test_results_are_the_outputs_of_the_targets(serving):
    """By their return annotations, secrets masked; what JSON cannot say is said in words."""
    app, _ = shop()

    @app.post("/data", status_code=202)
    @chain(card, bare, odd, loose, marked, ship, skipped, expose_result=True)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            await client.finished(at)
            answer = await client.get(f"{at}/result")
            masked = "**********"
            assert (answer.status, answer.json()) == (
                200,
                {
                    "card": {"number": masked, "name": "Ann"},
                    "bare": {"at": "2026-01-01T00:00:00Z", "odd": "odd", "nan": None},
                    "odd": "odd",
                    "loose": "odd",
                    "marked": 7,
                    "ship": [{"number": masked, "name": "1"}, {"number": masked, "name": "2"}],
                },
            )

    asyncio.run(main())


def test_results_are_hidden_unless_somebody_says_otherwise(serving):
    """403 by default; 202 while the run goes on, 409 when it has failed or was cancelled."""
    app, _ = shop()
    open_app, _ = shop(expose_values=True)
    going: dict[str, asyncio.Event] = {}

    @task
    async def save(how: str) -> int:
        if how == "fails":
            raise OSError
        await going["on"].wait()
        return 5

    for one in (app, open_app):

        @one.post("/data", status_code=202)
        @chain(save)
        async def ingest(how: str) -> None: ...

    async def main() -> None:
        going["on"] = asyncio.Event()
        async with serving(app) as client:
            at = (await client.post("/data?how=fails")).headers["location"]
            answer = await client.get(f"{at}/result")
            assert (answer.status, answer.slug) == (403, "values-not-exposed")
            assert "expose_result=True" in answer.json()["detail"]
        async with serving(open_app) as client:
            failed = (await client.post("/data?how=fails")).headers["location"]
            await client.finished(failed)
            answer = await client.get(f"{failed}/result")
            assert (answer.status, answer.slug) == (409, "run-failed")
            assert answer.json()["detail"].endswith("has failed, so it has no result.")
            at = (await client.post("/data?how=waits")).headers["location"]
            early = await client.get(f"{at}/result")
            assert (early.status, early.headers["retry-after"], early.json()["done"]) == (202, "1", False)
            stopped = (await client.post("/data?how=waits")).headers["location"]
            assert (await client.post(f"{stopped}/cancel")).status == 202
            await client.finished(stopped)
            answer = await client.get(f"{stopped}/result")
            assert answer.json()["detail"].endswith("was cancelled, so it has no result.")
            going["on"].set()
            await client.finished(at)
            assert (await client.get(f"{at}/result")).json() == {"save": 5}

    asyncio.run(main())


def test_runs_are_cancelled(serving):
    """202, and the run ends cancelled; a finished run cannot be."""
    app, _ = shop()

    @task
    async def sleep() -> None:
        await asyncio.Event().wait()

    @app.post("/data", status_code=202)
    @chain(sleep)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            assert (await client.post(f"{at}/cancel")).status == 202
            run = await client.finished(at)
            assert (run["state"], run["reason"]) == ("cancelled", "run_cancelled")
            again = await client.post(f"{at}/cancel")
            assert (again.status, again.slug) == (409, "run-finished")

    asyncio.run(main())


def test_runs_are_retried_in_place(serving):
    """202 and Location; what succeeded is not run again unless asked for; what makes no sense is refused."""
    app, _ = shop()
    ran: list[str] = []
    broken = [True]

    @task
    async def clean() -> None:
        ran.append("clean")

    @task(after=[clean])
    async def save() -> None:
        ran.append("save")
        if broken[0]:
            raise OSError

    @task(after=[save])
    async def notify() -> None:
        ran.append("notify")

    @app.post("/data", status_code=202)
    @chain(notify)
    async def ingest() -> None: ...

    async def main() -> None:
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            await client.finished(at)
            assert (await client.post(f"{at}/retry")).headers["location"] == at
            assert (await client.finished(at))["state"] == "failed"
            assert ran == ["clean", "save", "save"]
            broken[0] = False
            answer = await client.post(f"{at}/retry", {"from": "failed"})
            assert (answer.status, answer.json()["done"]) == (202, False)
            run = await client.finished(at)
            assert (run["state"], [len(one["attempts"]) for one in run["tasks"]]) == ("succeeded", [1, 3, 1])
            nothing = await client.post(f"{at}/retry")
            assert (nothing.status, nothing.slug) == (409, "nothing-to-retry")
            ran.clear()
            await client.post(f"{at}/retry", {"from": "save"})
            await client.finished(at)
            assert ran == ["save", "notify"]
            await client.post(f"{at}/retry", {"from": "start"})
            await client.finished(at)
            assert ran == ["save", "notify", "clean", "save", "notify"]
            for body, slug in (({"from": "nope"}, "task-not-found"), ({"from": ""}, "request"), ([], "request")):
                answer = await client.post(f"{at}/retry", body)
                assert (answer.status, answer.slug) == (422, slug)

    asyncio.run(main())


def test_a_run_that_goes_on_is_not_retried(serving):
    """409: it is active."""
    app, _ = shop()
    going: dict[str, asyncio.Event] = {}

    @task
    async def save() -> None:
        await going["on"].wait()

    @app.post("/data", status_code=202)
    @chain(save)
    async def ingest() -> None: ...

    async def main() -> None:
        going["on"] = asyncio.Event()
        async with serving(app) as client:
            at = (await client.post("/data")).headers["location"]
            for body in (None, {"from": "start"}, {"from": "save"}):
                active = await client.post(f"{at}/retry", body)
                assert (active.status, active.slug) == (409, "run-active")
            going["on"].set()

    asyncio.run(main())
