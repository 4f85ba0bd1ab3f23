"""The built site: strict with both builders, every link leads somewhere, nothing is loaded from elsewhere."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

import fastapi_chain
import fastapi_chain.testing
from tests.docs.pages import DOCS, ROOT

pytest.importorskip("mkdocs")
pytest.importorskip("zensical")

BIN = Path(sys.executable).parent

INPUTS = ("docs", "fastapi_chain", "mkdocs.yml", "CHANGELOG.md", "CONTRIBUTING.md", "README.md")

FETCHES = {"script": "src", "img": "src", "source": "srcset", "iframe": "src", "video": "src", "audio": "src"}
"""What a browser fetches by itself, with the attribute that says from where; `link` depends on its `rel`."""

ONLY_SAID = {"canonical", "alternate", "next", "prev", "edit", "author", "license", "me"}
"""The values of `rel` for which nothing is fetched."""


@dataclass
class Page:
    """What is in a page of the site."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    """Reads a page."""

    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note down what stands in a tag."""
        given = {name: value or "" for name, value in attrs}
        self.page.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.page.links.append(given["href"])
        if tag in FETCHES and given.get(FETCHES[tag]):
            self.page.fetched.append(given[FETCHES[tag]].split()[0])
        if tag == "link" and not set(given.get("rel", "").split()) & ONLY_SAID:
            self.page.fetched.append(given["href"])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the site is built from: builders write beside it."""
    folder = tmp_path_factory.mktemp("source")
    for name in INPUTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.db*"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module", params=["mkdocs", "zensical"])
def site(request: pytest.FixtureRequest, source: Path) -> Path:
    """The site, built strictly and without a network."""
    # Whatever asks for anything over HTTP finds nobody there.
    nobody = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **nobody, "NO_MKDOCS_2_WARNING": "1"}
    command = [BIN / request.param, "build", "--strict"]
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"WARN|ERROR", done.stdout + done.stderr), done.stdout + done.stderr
    built = source / f"site-{request.param}"
    (source / "site").rename(built)
    return built


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """The pages of the site by their path."""
    found = {}
    for path in site.rglob("*.html"):
        reader = Reader()
        reader.feed(path.read_text())
        found[f"/{path.relative_to(site)}".removesuffix("index.html")] = reader.page
    assert len(found) > 30
    return found


def every(pages: dict[str, Page], what: str) -> Iterator[tuple[str, str]]:
    """Yield each page with each of its links, or of what it fetches."""
    for path, page in pages.items():
        # Who is shown the page that says 404 may be anywhere.
        if path != "/404.html":
            yield from ((path, link) for link in getattr(page, what))


def test_every_link_leads_somewhere(site: Path, pages: dict[str, Page]) -> None:
    """A link within the site leads to a page or a file that is there, and to an anchor that is in it."""
    dead = []
    for path, link in every(pages, "links"):
        parts = urlsplit(urljoin(f"http://site{path}", link))
        if parts.netloc != "site":
            continue
        page = pages.get(parts.path) or pages.get(f"{parts.path}/")
        if page is None and not (site / unquote(parts.path).lstrip("/")).is_file():
            dead.append(f"{path}: {link}")
        elif page is not None and parts.fragment and unquote(parts.fragment) not in page.ids:
            dead.append(f"{path}: {link}: no such anchor")
    assert dead == []


def test_links_to_elsewhere_are_well_formed(pages: dict[str, Page]) -> None:
    """A link to another site is https, with a name of a host."""
    elsewhere = {link for _, link in every(pages, "links") if urlsplit(link).scheme or link.startswith("//")}
    wrong = [link for link in elsewhere if not re.fullmatch(r"https://[\w-]+(\.[\w-]+)+(/[^\s\"'<>]*)?", link)]
    assert wrong == []


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[str, Page]) -> None:
    """No page loads a script, a style, a font or a picture from another host, nor does a style sheet."""
    loaded = [f"{path}: {link}" for path, link in every(pages, "fetched") if urlsplit(link).netloc]
    for sheet in site.rglob("*.css"):
        loaded += re.findall(r"""(?:@import\s+|url\()['"]?(?:https?:)?//[^)'"]+""", sheet.read_text())
    assert loaded == []
    missing = []
    for path, link in every(pages, "fetched"):
        if not link.startswith("data:"):
            target = urlsplit(urljoin(f"http://site{path}", link)).path
            missing += [f"{path}: {link}"] * (not (site / unquote(target).lstrip("/")).is_file())
    assert missing == []


def test_no_diagram_needs_a_script(site: Path) -> None:
    """No page has a block for Mermaid, which browsers would fetch from elsewhere."""
    assert [path for path in site.rglob("*.html") if 'class="mermaid"' in path.read_text()] == []


def test_every_public_name_has_a_place(pages: dict[str, Page]) -> None:
    """What users can import is in the reference, once."""
    there = [name for path, page in pages.items() if path.startswith("/reference/") for name in page.ids]
    wanted = [f"fastapi_chain.{name}" for name in fastapi_chain.__all__]
    wanted += [f"fastapi_chain.testing.{name}" for name in fastapi_chain.testing.__all__]
    assert {name: there.count(name) for name in wanted if there.count(name) != 1} == {}


def test_what_agents_read_is_at_the_root(site: Path, pages: dict[str, Page]) -> None:
    """`/llms.txt` is served as it was written, and its links lead to pages."""
    text = (site / "llms.txt").read_text()
    assert text == (DOCS / "llms.txt").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert [link for link in links if f"/{link}" not in pages] == []


def test_every_page_is_in_the_navigation(pages: dict[str, Page]) -> None:
    """The home page leads to each page."""
    home = {urlsplit(urljoin("http://site/", link)).path for link in pages["/"].links}
    assert set(pages) - home - {"/404.html"} == set()
