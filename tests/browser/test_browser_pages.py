"""All pages in a real browser: filters, themes, narrow screens, keyboard, accessibility."""

from typing import Any

import pytest

PHONE = {"width": 390, "height": 844}


def filled(shop: Any) -> dict[str, str]:
    """Return a failed, a succeeded and a running run."""
    shop.gates.open("check")
    running = shop.post("/orders/1")
    shop.bank.solvent = True
    return {"running": running, "succeeded": shop.post("/imports?count=3"), "failed": shop.post("/imports?count=9")}


def paths(shop: Any) -> list[str]:
    """Return the address of every kind of page."""
    runs = filled(shop)
    tabs = [f"/runs/{runs['failed']}?task=store&tab={tab}" for tab in ("error", "items", "values", "log", "code")]
    single = [
        f"/runs/{runs['running']}",
        f"/runs/{runs['running']}?task=charge",
        f"/runs/{runs['failed']}?task=store[7]",
    ]
    catalogue = ["/chains", "/chains/checkout", "/tasks", "/tasks/charge?chain=checkout"]
    return ["/", "/?q=nothing", "/?state=failed", *single, *tabs, *catalogue]


def test_the_list_is_filtered(shop: Any, open_page: Any) -> None:
    """By state, chain, tag and text; the slash key goes to the search."""
    runs = filled(shop)
    page = open_page("/")
    assert page.locator("tbody tr").count() == 3
    page.get_by_role("link", name="failed 1").click()
    page.locator(f"#r-{runs['failed']} .e", has_text="store: ValueError: row 7 has no email").wait_for()
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("link", name="Clear").click()
    page.get_by_label("Chain").select_option("import_rows")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**/?chain=import_rows*")
    assert page.locator("tbody tr").count() == 2
    page.get_by_role("link", name="Clear").click()
    page.get_by_label("Tag").fill("order:1")
    page.get_by_label("Tag").press("Enter")
    page.wait_for_url("**tag=order%3A1*")
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("link", name="Clear").click()
    page.wait_for_url("**/ui/")
    page.keyboard.press("/")
    page.keyboard.type(runs["succeeded"][:12])
    page.keyboard.press("Enter")
    page.wait_for_url("**q=*")
    assert page.locator("tbody tr").count() == 1
    assert page.locator(f"#r-{runs['succeeded']}").count() == 1


def test_the_list_follows(shop: Any, open_page: Any) -> None:
    """A run that begins while the list is open shows up in it, and changes its state there."""
    page = open_page("/")
    page.locator(".empty", has_text="No runs yet").wait_for()
    run = shop.post("/orders/5")
    page.locator(f"#r-{run} .pill.running").wait_for()
    shop.bank.solvent = True
    shop.gates.open("check", "sync")
    page.locator(f"#r-{run} .pill.succeeded").wait_for()


def test_dark_and_light(shop: Any, open_page: Any) -> None:
    """A page is as the reader's system is, until the button says otherwise: that holds for all pages from then on."""

    def background(page: Any) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light, dark = open_page("/", color_scheme="light"), open_page("/", color_scheme="dark")
    assert background(light) == "rgb(246, 247, 249)"
    assert background(dark) == "rgb(12, 17, 27)"
    light.get_by_role("button", name="Switch between light and dark").click()
    assert background(light) == background(dark)
    light.goto(f"{shop.ui}/chains")
    assert light.locator("html").get_attribute("data-theme") == "dark"
    assert background(light) == background(dark)


def test_on_a_phone(shop: Any, open_page: Any) -> None:
    """No page is wider than a phone, and the graph stands upright."""
    page = open_page(viewport=PHONE)
    for path in paths(shop):
        page.goto(f"{shop.ui}{path}", wait_until="domcontentloaded")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        if page.locator(".graph").count():
            assert page.locator(".tall").is_visible()
            assert page.locator(".wide").is_hidden()


def test_by_keyboard(shop: Any, open_page: Any) -> None:
    """The first stop skips to the content; boxes of the graph are links that Enter follows."""
    runs = filled(shop)
    page = open_page(f"/runs/{runs['failed']}?task=rows")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.locator(".wide .node").nth(1).focus()
    page.keyboard.press("Enter")
    page.locator("#task", has_text="store").wait_for()
    assert page.evaluate("new URL(location).searchParams.get('task')") == "store"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(shop: Any, open_page: Any, scheme: str) -> None:
    """No page has an accessibility problem that axe-core knows."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = []
    page = open_page(color_scheme=scheme, reduced_motion="reduce", bypass_csp=True)
    for path in paths(shop):
        page.goto(f"{shop.ui}{path}")
        violations = axe.run(page).response["violations"]
        found += [(path, each["id"], [node["target"] for node in each["nodes"]][:3]) for each in violations]
    assert found == []


def test_an_open_page_does_not_hold_up_the_server(shop: Any, open_page: Any) -> None:
    """The fixture stops the server while a page follows a run: it ends in time."""
    page = open_page(f"/runs/{shop.post('/orders/6')}")
    page.locator(".wide .node.running").wait_for()
