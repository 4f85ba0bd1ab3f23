"""Who may see the dashboard, and what a browser may do with it."""

import gzip
import hashlib
import logging
import re
import sys
from importlib.resources import files
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from starlette.testclient import TestClient

from fastapi_chain import install
from fastapi_chain._fastapi import api_routes
from fastapi_chain.dashboard import assets, pages
from fastapi_chain.errors import ChainError
from fastapi_chain.web.runtime import Runtime

UI = "/chains/ui"
STATIC = files("fastapi_chain.dashboard").joinpath("static")


def nobody() -> None:
    raise HTTPException(401)


def somebody() -> None: ...


def app_with(runtime_of: Any = None, **include: Any) -> tuple[FastAPI, Runtime]:
    app = FastAPI()
    runtime = install(app)
    app.include_router(runtime.dashboard(), prefix=UI, **include)
    return app, runtime


REFUSAL = """\
The dashboard is included without dependencies, so everybody could see and retry every run.
    included at   /chains/ui/
Fix, one of:
  - app.include_router(runtime.dashboard(), prefix=..., dependencies=[Depends(require_admin)])
  - set FASTAPI_ENV=development, as `fastapi dev` does
  - runtime.dashboard(allow_anonymous=True), where something else protects it
See errors#chain-error"""


def test_unprotected_pages_keep_the_app_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without dependencies the app does not start, and says what to write."""
    monkeypatch.delenv("FASTAPI_ENV", raising=False)
    app, _ = app_with()
    with pytest.raises(ChainError) as caught, TestClient(app):
        pass
    assert str(caught.value) == REFUSAL


def test_unprotected_pages_are_not_served_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no lifespan runs, every request is refused: pages, files, streams and actions."""
    monkeypatch.delenv("FASTAPI_ENV", raising=False)
    app, _ = app_with()
    client = TestClient(app)
    for route in api_routes(app):
        if route.path.startswith(UI):
            path = re.sub(r"{\w+(:path)?}", "x", route.path)
            answer = client.request(route.methods[0], path)
            assert (answer.status_code, answer.json()) == (403, {"detail": REFUSAL})


def test_who_starts_the_app_up_but_serves_nothing_needs_no_protection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that only runs the chains of an app is not held up by its pages, and says nothing of them."""
    monkeypatch.delenv("FASTAPI_ENV", raising=False)
    app, runtime = app_with()
    runtime.serving = False
    with TestClient(app):
        pass


@pytest.mark.parametrize(
    ("level", "logger"),
    [
        # Nobody has set up logging: the server's log shows it.
        (logging.WARNING, "uvicorn.error"),
        # Somebody has: it is in our log, like all that we say.
        (logging.INFO, "fastapi_chain"),
    ],
)
def test_the_log_says_where_the_dashboard_is(caplog: pytest.LogCaptureFixture, level: int, logger: str) -> None:
    """At start-up one line says how many chains there are, and where to look at their runs."""
    caplog.set_level(level, "fastapi_chain")
    caplog.set_level(logging.INFO, "uvicorn.error")
    app = FastAPI()
    app.root_path = "/v1"
    runtime = install(app)
    runtime.dashboard(allow_anonymous=True)  # included nowhere
    app.include_router(runtime.dashboard(allow_anonymous=True), prefix=UI)
    with TestClient(app):
        said = [(record.name, record.getMessage()) for record in caplog.records]
    assert said == [(logger, "fastapi_chain: 0 chains, dashboard at /v1/chains/ui/")]


@pytest.mark.parametrize(
    ("environment", "include", "options"),
    [
        # In development anybody may.
        ("development", {}, {}),
        # Somebody else protects it.
        ("production", {}, {"allow_anonymous": True}),
        ("production", {"dependencies": [Depends(somebody)]}, {}),
    ],
)
def test_who_may(monkeypatch: pytest.MonkeyPatch, environment: str, include: Any, options: Any) -> None:
    """Pages are served where the user has said who may see them."""
    monkeypatch.setenv("FASTAPI_ENV", environment)
    app = FastAPI()
    app.include_router(install(app).dashboard(**options), prefix=UI, **include)
    with TestClient(app) as client:
        for _ in range(2):
            assert client.get(f"{UI}/").status_code == 200


def test_a_dependency_anywhere_above_protects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the app, or of a router around it."""
    monkeypatch.delenv("FASTAPI_ENV", raising=False)
    app = FastAPI(dependencies=[Depends(somebody)])
    app.include_router(install(app).dashboard(), prefix=UI)
    with TestClient(app) as client:
        assert client.get(f"{UI}/").status_code == 200
    other, router = FastAPI(), APIRouter(prefix="/admin", dependencies=[Depends(somebody)])
    router.include_router(install(other).dashboard(), prefix=UI)
    other.include_router(router)
    with TestClient(other) as client:
        assert client.get(f"/admin{UI}/").status_code == 200


def test_the_users_dependency_guards_everything() -> None:
    """Every route answers 401 to those whom it refuses: pages, files, streams and actions."""
    app, _ = app_with(dependencies=[Depends(nobody)])
    with TestClient(app) as client:
        paths = [(route.methods[0], route.path) for route in api_routes(app) if route.path.startswith(UI)]
        assert len(paths) == 11
        for method, path in paths:
            assert client.request(method, re.sub(r"{\w+(:path)?}", "x", path)).status_code == 401, path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        # Our own page, or an address typed by hand.
        ({"sec-fetch-site": "same-origin"}, 404),
        ({"sec-fetch-site": "none"}, 404),
        # No browser.
        ({}, 404),
        # A page of another site.
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        # An old browser, on our own page.
        ({"origin": "http://testserver"}, 404),
    ],
)
def test_actions_of_other_sites_are_refused(headers: dict[str, str], status: int) -> None:
    """A form on a page of another site does nothing."""
    app, _ = app_with(dependencies=[Depends(somebody)])
    with TestClient(app) as client:
        for action in ("cancel", "retry", "again"):
            assert client.post(f"{UI}/runs/x/{action}", headers=headers).status_code == status


def test_every_response_has_a_strict_policy() -> None:
    """No code but our own files, no other machine, no frame, no cache."""
    app, _ = app_with(dependencies=[Depends(somebody)])
    with TestClient(app) as client:
        for path in ("/", "/runs/x", "/chains", "/static/app.css"):
            headers = client.get(f"{UI}{path}").headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
        assert client.get(f"{UI}/").headers["cache-control"] == "no-store"


def test_pages_have_no_inline_script_or_style() -> None:
    """Neither attributes nor elements, so that the policy needs no exception."""
    for template in files("fastapi_chain.dashboard").joinpath("templates").iterdir():
        source = template.read_text()
        assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:", source), template.name
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", source))


def test_files_are_compressed_and_kept() -> None:
    """A browser gets them compressed, once for each version; all of them together are below 30 kB."""
    app, _ = app_with(dependencies=[Depends(somebody)])
    with TestClient(app) as client:
        total = 0
        for name, kind in assets.TYPES.items():
            plain = client.get(f"{UI}/static/{name}", headers={"accept-encoding": "identity"})
            packed = client.get(f"{UI}/static/{name}", headers={"accept-encoding": "gzip"})
            assert plain.content == packed.content == STATIC.joinpath(name).read_bytes()
            assert plain.headers["content-type"] == kind
            assert "immutable" in packed.headers["cache-control"]
            assert "content-encoding" not in plain.headers
            total += int(packed.headers["content-length"])
        assert total < 30_000
    assert gzip.decompress(assets.asset("app.js").packed) == STATIC.joinpath("app.js").read_bytes()


def test_files_of_others_are_as_published() -> None:
    """Each has its source, licence and sum in VENDOR.md."""
    table = STATIC.joinpath("VENDOR.md").read_text()
    rows = [re.split(r"\s*\|\s*", line.strip("| \n")) for line in table.splitlines() if line.startswith("| h")]
    assert [row[0] for row in rows] == ["htmx.min.js", "hx-sse.min.js"]
    for name, _, _, licence, checksum in rows:
        assert hashlib.sha256(STATIC.joinpath(name).read_bytes()).hexdigest() == checksum
        assert "0BSD" in licence


def test_without_jinja_there_is_no_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    pages.environment.cache_clear()
    with pytest.raises(ChainError) as caught:
        install(FastAPI()).dashboard()
    pages.environment.cache_clear()
    assert str(caught.value) == (
        "The dashboard needs the package 'jinja2', which is not installed.\n"
        "Fix: pip install 'fastapi-chain[dashboard]'\n"
        "See errors#chain-error"
    )
