"""Take the pictures of the dashboard in the documentation, into docs/images: `.venv/bin/python tools/screenshots.py`.

They show docs/examples/guide/dashboard.py in a headless Chromium. Each carries, as its description, the text that could
be read on the page. tests/browser/test_browser_pictures.py fails when the dashboard has changed and they have not.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
EXAMPLES = ROOT / "docs" / "examples" / "guide"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
HEAD = 33
"""Where a PNG goes on behind its signature and its header."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is taken."""

    path: str
    """The page below the dashboard; `{order}` and `{rows}` are the runs."""
    scheme: Literal["light", "dark"] = "light"
    width: int = 1280
    height: int = 800


PICTURES = {
    "dashboard-runs": Picture("/", height=480),
    "dashboard-run": Picture("/runs/{order}?task=print_invoice"),
    "dashboard-dark": Picture("/runs/{order}?task=print_invoice", scheme="dark"),
    "dashboard-fan-out": Picture("/runs/{rows}?task=store"),
    "dashboard-phone": Picture("/runs/{order}", width=390, height=844),
}
"""The pictures by name."""


@dataclass(frozen=True, slots=True)
class Shop:
    """The example, once its runs have ended."""

    base: str
    """Where it serves."""
    runs: dict[str, str]
    """Its runs: the order that fails, the import."""


def post(base: str, path: str, body: dict[str, int] | None = None) -> str:
    """Send a request, as soon as somebody answers; return the id of the run that it has started."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    for _ in range(200):
        # It is the server above that is asked.
        request = urllib.request.Request(f"{base}{path}", method="POST", data=data, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return str(answer.headers["x-chain-run"])
        except urllib.error.URLError:
            time.sleep(0.1)
    raise TimeoutError(base)


@contextmanager
def shop() -> Iterator[Shop]:
    """Serve the example, and give it something to do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "dashboard:app", "--port", str(port), "--log-level", "critical"]
    process = subprocess.Popen(command, cwd=EXAMPLES, stderr=subprocess.DEVNULL)
    try:
        base = f"http://127.0.0.1:{port}"
        rows = post(base, "/imports?count=24")
        order = post(base, "/orders", {"id": 1042, "cents": 12900})
        yield Shop(base, {"rows": rows, "order": order})
    finally:
        process.terminate()
        process.wait(30)


def take(browser: Browser, served: Shop, picture: Picture) -> bytes:
    """Return a picture as PNG, with the text on it as its description."""
    size = ViewportSize(width=picture.width, height=picture.height)
    context = browser.new_context(viewport=size, color_scheme=picture.scheme, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(30_000)
    ended(page, served)
    page.goto(f"{served.base}/chains/ui{picture.path.format(**served.runs)}")
    png = page.screenshot(full_page=True)
    text = masked(page.inner_text("body"))
    context.close()
    return described(png, text)


def ended(page: Page, served: Shop) -> None:
    """Wait until all runs have ended."""
    for run in served.runs.values():
        page.goto(f"{served.base}/chains/ui/runs/{run}")
        page.locator("h1 + [role=status] .pill.failed").wait_for()


def masked(text: str) -> str:
    """Return *text* without what is different each time: ids, durations, times of the day."""
    text = re.sub(r"\b[0-9a-f]{32}\b|\b(?=[0-9a-f]*\d)[0-9a-f]{8}\b", "…", text)
    text = re.sub(r"(< )?\d[\d.,:]*( ?(ms|s|min)\b)?", "0", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # A time axis has more or less marks.
    return "\n".join(line for before, line in zip(["", *lines], lines, strict=False) if not before == line == "0")


def described(png: bytes, text: str) -> bytes:
    """Return a PNG with its description."""
    data = b"Description\0\0\0\0\0" + text.encode()
    chunk = len(data).to_bytes(4) + b"iTXt" + data + zlib.crc32(b"iTXt" + data).to_bytes(4)
    return png[:HEAD] + chunk + png[HEAD:]


def description(png: bytes) -> str:
    """Return the description of a PNG; an empty text if it has none."""
    length = int.from_bytes(png[HEAD : HEAD + 4])
    found = png[HEAD + 4 : HEAD + 8] == b"iTXt"
    return png[HEAD + 8 : HEAD + 8 + length].rpartition(b"\0")[2].decode() if found else ""


def chromium() -> str | None:
    """Return where Chromium is; None if it is not installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def main() -> int:
    """Take all pictures anew; return an exit code."""
    with sync_playwright() as playwright, shop() as served:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        for name, picture in PICTURES.items():
            (IMAGES / f"{name}.png").write_bytes(take(browser, served, picture))
            print(f"docs/images/{name}.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
