"""The pages over HTTP: what they show, where they lead, what can be done on them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin

import anyio
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from fastapi_chain import Registry, Run, chain, install
from fastapi_chain.errors import EngineUnavailable, QueueFull
from fastapi_chain.web.runtime import Runtime

UI = "/chains/ui"
HREF = re.compile(r'(?:href|action|src|hx-get|hx-sse:connect)="([^"#][^"]*)"')


def shop() -> tuple[FastAPI, Runtime]:
    """Return an app with two chains, one of which has a name that addresses must quote."""
    app, tasks = FastAPI(title="shop"), Registry("shop")

    @tasks.task
    async def check(order: int) -> int:
        return order

    @tasks.task(after=[check])
    async def charge(check: int) -> str:
        if check < 0:
            raise ValueError(f"order {check} cannot be paid")
        return "r"

    @tasks.task(after=[charge])
    async def mail(charge: str) -> None: ...

    @tasks.task(name="a/b c")
    async def odd() -> None: ...

    @app.post("/orders/{order}", status_code=202)
    @chain(mail, name="checkout", tags={"order": "{order}"}, deadline=60, key=None, max_pending=500)
    async def checkout(order: int) -> None: ...

    @app.post("/odd", status_code=202)
    @chain(odd, check, name="x/y", start="response", key="odd-{order}")
    async def other(order: int = 3, color: str = "red") -> None: ...

    runtime = install(app)
    app.include_router(runtime.router(), prefix="/chains")
    app.include_router(runtime.dashboard(allow_anonymous=True), prefix=UI)
    return app, runtime


@contextmanager
def opened(app: Any, **options: Any) -> Iterator[TestClient]:
    with TestClient(app, follow_redirects=False, **options) as client:
        yield client


def ordered(client: TestClient, order: int) -> str:
    """Order something; return the id of its run, which has finished."""
    run = client.post(f"/orders/{order}").headers["x-chain-run"]
    wait(client, run)
    return run


def wait(client: TestClient, run: str) -> dict[str, Any]:
    answer = client.get(f"/chains/runs/{run}").json()
    while not answer["done"]:
        answer = client.get(f"/chains/runs/{run}", headers={"Prefer": "wait=5"}).json()
    return answer


def text(page: str) -> str:
    """Return what can be read of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def test_the_list_shows_runs() -> None:
    """State, chain, tag, route and error of each run, the newest first."""
    app, _ = shop()
    with opened(app) as client:
        good, bad = ordered(client, 1), ordered(client, -1)
        page = client.get(f"{UI}/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.text.index(bad) < page.text.index(good)
        assert "charge: ValueError: order -1 cannot be paid" in page.text
        assert "POST /orders/{order}" in page.text
        assert 'aria-label="1 failed, 1 succeeded, 1 skipped"' in page.text
        assert "shop · memory store" in text(page.text)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "good bad odd"),
        ("?state=failed", "bad"),
        # A state that does not exist is none.
        ("?state=sleeping", "good bad odd"),
        ("?chain=checkout", "good bad"),
        ("?tag=order:1", "good"),
        ("?tag=order%3D1", "good"),
        ("?q=%20checkout%20", "good bad"),
        ("?since=1h", "good bad odd"),
        ("?since=yesterday", "good bad odd"),
        ("?chain=nobody", ""),
    ],
)
def test_the_list_is_filtered(query: str, found: str) -> None:
    """By state, chain, tag, text and time; what makes no sense filters nothing."""
    app, _ = shop()
    with opened(app) as client:
        runs = {"good": ordered(client, 1), "bad": ordered(client, -1)}
        runs["odd"] = client.post("/odd").headers["x-chain-run"]
        wait(client, runs["odd"])
        page = client.get(f"{UI}/{query}").text
        assert {name for name, run in runs.items() if run in page} == set(found.split())
        assert ("No run matches" in page) == (not found)


def test_the_list_has_pages() -> None:
    """Thirty runs a page; older ones are a link away, and an address that no list has given is not found."""
    app, _ = shop()
    with opened(app) as client:
        first = ordered(client, 1)
        for order in range(2, 34):
            client.post(f"/orders/{order}")
        page = client.get(f"{UI}/?chain=checkout").text
        assert first not in page
        (older,) = re.findall(r'href="([^"]*cursor=[^"]*)"', page)
        second = client.get(urljoin(f"{UI}/", older.replace("&amp;", "&"))).text
        assert first in second
        assert "an older page" in second
        assert "hx-get" not in second
        missing = client.get(f"{UI}/?cursor=nonsense")
        assert missing.status_code == 404
        assert "There is no such page" in missing.text


def test_empty_lists_teach() -> None:
    """An app without runs shows which requests start one; one without chains shows how to write them."""
    app, _ = shop()
    with opened(app) as client:
        page = text(client.get(f"{UI}/").text)
        assert "No runs yet" in page
        assert "POST /orders/{order} POST /odd" in page
    empty = FastAPI()
    runtime = install(empty)
    empty.include_router(runtime.dashboard(allow_anonymous=True), prefix=UI)
    with opened(empty) as client:
        assert "No chains yet" in client.get(f"{UI}/").text
        assert "No chains yet" in client.get(f"{UI}/chains").text
        assert "No tasks yet" in client.get(f"{UI}/tasks").text


def test_values_are_hidden_unless_exposed() -> None:
    """The tab says how to have them shown."""
    app, _ = shop()
    with opened(app) as client:
        page = client.get(f"{UI}/runs/{ordered(client, 1)}?task=check&tab=values").text
        assert "install(app, expose_values=True)" in page


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("/runs/nope", "There is no such run"),
        ("/runs/nope/events", "There is no such run"),
        ("/chains/nope", "There is no such chain"),
        ("/tasks/nope", "There is no such task"),
        ("/static/nope.js", "There is no such file"),
    ],
)
def test_what_is_not_there(path: str, title: str) -> None:
    """404, with a way back."""
    app, _ = shop()
    with opened(app) as client:
        page = client.get(f"{UI}{path}")
        assert page.status_code == 404
        assert title in page.text
        assert "All runs" in page.text


def test_chains_and_tasks_have_pages() -> None:
    """What a chain is made of, how its tasks have done lately, and each task's definition."""
    app, _ = shop()
    with opened(app) as client:
        ordered(client, 1)
        ordered(client, -1)
        chains = text(client.get(f"{UI}/chains").text)
        assert "checkout" in chains
        assert "50 %" in chains
        assert "never" in chains
        page = text(client.get(f"{UI}/chains/checkout").text)
        assert "order" in page
        assert "1 m 00 s" in page
        assert "500" in page
        other = client.get(f"{UI}/chains/x%2Fy").text
        assert "right after the response" in other
        assert "odd-{order}" in other
        task = text(client.get(f"{UI}/tasks/charge?chain=checkout").text)
        assert "ValueError: order -1 cannot be paid" in task
        assert "raise ValueError" in task
        quoted = client.get(f"{UI}/tasks/a%2Fb%20c").text
        assert "No run yet." in quoted
        # A task in two chains links to the other one; without a chain the first is shown.
        assert "Also in" in client.get(f"{UI}/tasks/check").text
        assert "a/b c" in text(client.get(f"{UI}/tasks").text)


def test_every_address_on_every_page_leads_somewhere() -> None:
    """Addresses are relative, so they hold under any prefix; each of them is answered."""
    app, _ = shop()
    with opened(app) as client:
        run = ordered(client, -1)
        wait(client, client.post("/odd").headers["x-chain-run"])
        todo, seen = [f"{UI}/", f"{UI}/runs/{run}?task=charge"], set()
        while todo:
            path = todo.pop()
            if path in seen:
                continue
            seen.add(path)
            answer = client.get(path)
            assert answer.status_code == 200, path
            if "html" not in answer.headers["content-type"]:
                continue
            for found in HREF.findall(answer.text):
                assert not found.startswith(("/", "http")), (path, found)
                address = urljoin(path, found.replace("&amp;", "&")).partition("#")[0]
                if not address.endswith(("/cancel", "/again")) and "/retry" not in address:
                    todo.append(address)
        assert len(seen) > 30


def test_a_run_is_retried_cancelled_and_run_again() -> None:
    """Each action leads back to a run; what cannot be done says why."""
    app, _ = shop()
    with opened(app) as client:
        run = ordered(client, -1)
        page = f"{UI}/runs/{run}"
        done = client.post(f"{page}/retry?from=charge")
        assert (done.status_code, urljoin(f"{page}/retry", done.headers["location"])) == (303, page)
        assert len(wait(client, run)["tasks"][1]["attempts"]) == 2
        refused = client.post(f"{page}/cancel")
        assert refused.status_code == 409
        assert "so it cannot be cancelled" in refused.text
        unknown = client.post(f"{page}/retry?from=nobody")
        assert unknown.status_code == 409
        assert "This run has no task &#39;nobody&#39; to begin with." in unknown.text
        again = client.post(f"{page}/again")
        made = again.headers["location"].removeprefix("../")
        assert made != run
        new = wait(client, made)
        assert (new["state"], new["tags"], new["started_by"]) == ("failed", {"order": "-1"}, "POST /orders/{order}")
        for action in ("cancel", "retry", "again"):
            assert client.post(f"{UI}/runs/nope/{action}").status_code == 404
        bad = ordered(client, 5)
        nothing = client.post(f"{UI}/runs/{bad}/retry")
        assert nothing.status_code == 409


def test_a_run_again_that_the_engine_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says what the engine says."""
    app, runtime = shop()
    with opened(app) as client:
        run = ordered(client, 1)

        full_queue = QueueFull(chain="checkout", max_pending=1, retry_after=1.0)

        def full(request: object) -> Run:
            raise full_queue

        monkeypatch.setattr(runtime.engine, "take", full)
        refused = client.post(f"{UI}/runs/{run}/again")
        assert refused.status_code == 409
        assert full_queue.problem().replace("'", "&#39;") in refused.text


def test_on_a_durable_engine(tmp_path: Any) -> None:
    """Runs of a database are shown, retried and run again as those of this process are."""
    pytest.importorskip("dbos")
    app, tasks = FastAPI(), Registry("shop")

    @tasks.task
    async def check(order: int) -> int:
        if order < 0:
            raise ValueError("unpaid")
        return order

    @app.post("/orders/{order}", status_code=202)
    @chain(check, name="checkout")
    async def checkout(order: int) -> None: ...

    runtime = install(app, engine=f"sqlite:///{tmp_path}/chains.db", expose_values=True)
    app.include_router(runtime.router(), prefix="/chains")
    app.include_router(runtime.dashboard(allow_anonymous=True), prefix=UI)
    with opened(app) as client:
        run = ordered(client, -1)
        assert "check: ValueError: unpaid" in client.get(f"{UI}/").text
        assert "sqlite store" in client.get(f"{UI}/runs/{run}?tab=values").text
        again = client.post(f"{UI}/runs/{run}/again").headers["location"].removeprefix("../")
        assert wait(client, again)["state"] == "failed"
        assert "The memory engine" not in client.get(f"{UI}/runs/nope").text
        assert client.post(f"{UI}/runs/{run}/retry").status_code == 303
        assert wait(client, run)["state"] == "failed"
    with opened(app) as client:
        # After a restart, the exception is what was stored of it.
        page = client.get(f"{UI}/runs/{run}?task=check&tab=error").text
        (stored,) = re.findall(r'<pre class="stored"[^>]*>(.*?)</pre>', page, re.DOTALL)
        assert stored.startswith("Traceback (most recent call last):")
        assert stored.endswith("raise ValueError(&#34;unpaid&#34;)")


@pytest.mark.parametrize("path", ["/", "/runs/x", "/chains", "/chains/checkout", "/tasks/check"])
def test_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """503, in the look of all pages, with its style sheet in reach."""
    app, runtime = shop()
    with opened(app) as client:

        async def gone(*_: object) -> None:
            raise EngineUnavailable(engine="postgresql", reason="connection refused")

        monkeypatch.setattr(runtime.engine, "find", gone)
        monkeypatch.setattr(runtime.engine, "search", gone)
        page = client.get(f"{UI}{path}")
        assert page.status_code == 503
        assert "Engine &#39;postgresql&#39; does not answer." in page.text
        (sheet,) = re.findall(r'href="([^"]*app.css[^"]*)"', page.text)
        assert client.get(urljoin(f"{UI}{path}", sheet)).status_code == 200


def test_an_open_page_hears_of_changes() -> None:
    """A run that has finished says so at once; one that the page knows more of than there is begins anew."""
    app, _ = shop()
    with opened(app) as client:
        run = ordered(client, 1)
        stream = client.get(f"{UI}/runs/{run}/events?after=1")
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert re.fullmatch(r"event: finished\nid: \d+\ndata: \n\n", stream.text)


def test_a_page_of_a_run_that_goes_on_is_told_until_the_server_stops() -> None:
    """The page connects to the stream, which ends when the server is about to stop."""
    app, tasks, gate = FastAPI(), Registry("slow"), anyio.Event()

    @tasks.task
    async def wait_here() -> None:
        await gate.wait()

    @app.post("/slow", status_code=202)
    @chain(wait_here, name="slow")
    async def slow() -> None: ...

    runtime = install(app, drain_timeout=0.01)
    app.include_router(runtime.dashboard(allow_anonymous=True), prefix=UI)
    with opened(app) as client:
        run = client.post("/slow").headers["x-chain-run"]
        assert 'hx-sse:connect="../runs/' in client.get(f"{UI}/runs/{run}").text
        assert client.portal is not None
        client.portal.call(runtime.stopping.stop)
        for headers in ({}, {"last-event-id": "99"}, {"last-event-id": "x"}):
            stream = client.get(f"{UI}/runs/{run}/events", headers=headers)
            assert (stream.status_code, stream.text) == (200, "")


def test_the_theme_that_was_chosen() -> None:
    """It is in the page from the beginning; anything else is what the system says."""
    app, _ = shop()
    with opened(app) as client:
        for cookie, theme in (("dark", "dark"), ("light", "light"), ("<script>", "auto")):
            page = client.get(f"{UI}/", headers={"cookie": f"fastapi-chain-theme={cookie}"})
            assert f'<html lang="en" data-theme="{theme}">' in page.text


@pytest.mark.parametrize("prefix", ["/proxy", ""])
def test_behind_a_proxy_and_under_a_mount(prefix: str) -> None:
    """Pages work wherever the app is mounted, and redirects stay there."""
    inner, _ = shop()
    outer = FastAPI()
    runtime = install(outer)
    outer.mount("/shop", inner)
    with opened(outer, root_path=prefix) as client:
        run = client.post(f"{prefix}/shop/orders/1").headers["x-chain-run"]
        page = client.get(f"{prefix}/shop{UI}/runs/{run}")
        assert page.status_code == 200
        again = client.post(f"{prefix}/shop{UI}/runs/{run}/again")
        assert again.headers["location"].startswith("../")
    assert runtime is not None
