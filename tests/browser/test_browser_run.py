"""A run in a real browser: it is watched, its error is read, it is retried and cancelled."""

from typing import Any


def node(page: Any, task: str) -> Any:
    """Return the box of *task* in the graph that is shown on wide screens."""
    return page.locator(".wide .node", has=page.locator("title", has_text=f"{task}:"))


def until(page: Any, task: str, state: str) -> None:
    """Wait until the box of *task* shows *state*."""
    page.locator(f".wide .node.{state}", has=page.locator("title", has_text=f"{task}:")).wait_for()


def test_a_run_is_watched_from_pending_to_failed(shop: Any, open_page: Any) -> None:
    """The page follows by itself, in place: the same document, the same boxes."""
    run = shop.post("/orders/1042")
    page = open_page(f"/runs/{run}")
    until(page, "check", "running")
    until(page, "charge", "pending")
    page.evaluate("window.mark = document.querySelector('.wide .node')")
    shop.gates.open("check")
    until(page, "charge", "failed")
    until(page, "mail", "skipped")
    until(page, "sync", "running")
    assert node(page, "sync").locator(".sub").text_content() == "41 % · 513 of 1,250"
    shop.gates.open("sync")
    page.locator("h1 + [role=status] .pill.failed").wait_for()
    assert page.evaluate("window.mark === document.querySelector('.wide .node')")
    alert = page.locator(".alert").inner_text()
    assert "charge gave up after 2 attempts: NotPaidError: order 1042 is not paid" in alert
    assert "1 task skipped because of it · the response was not affected" in alert
    # It has come to an end, so nothing asks any more.
    assert page.locator("#body[hx-get]").count() == 0


def test_the_error_is_read_and_retried(shop: Any, open_page: Any) -> None:
    """The panel opens at the task that failed: its error, the user's own lines, and the button that mends it."""
    shop.gates.open("check", "sync")
    run = shop.post("/orders/7")
    page = open_page(f"/runs/{run}")
    page.locator(".alert").click()
    panel = page.locator("#task")
    assert panel.locator(".exc b").inner_text() == "NotPaidError"
    hot = panel.locator(".ln.hot").all_inner_texts()
    assert any("return bank.charge(check)" in line for line in hot)
    assert any("raise NotPaidError" in line for line in hot)
    assert panel.locator(".attempts li").count() == 2
    shop.bank.solvent = True
    page.get_by_role("button", name="Retry from failed").click()
    page.locator("h1 + [role=status] .pill.succeeded").wait_for()
    assert page.url.endswith(f"/runs/{run}")
    assert shop.state(run) == "succeeded"
    assert node(page, "charge").locator(".sub").text_content().endswith("attempt 3/4")


def test_a_run_is_retried_from_a_task_and_run_again(shop: Any, open_page: Any) -> None:
    """`Retry from here` runs a task and all after it; `Run again` makes a new run of the same inputs."""
    shop.gates.open("check", "sync")
    shop.bank.solvent = True
    run = shop.post("/orders/8")
    page = open_page(f"/runs/{run}?task=charge")
    page.get_by_role("button", name="Retry from here").click()
    page.locator("h1 + [role=status] .pill.succeeded").wait_for()
    until(page, "charge", "succeeded")
    node(page, "charge").click()
    page.locator(".attempts li:nth-child(2)").wait_for()
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: run not in url and "/runs/" in url)
    page.locator("h1 + [role=status] .pill.succeeded").wait_for()
    assert page.locator("a.tag").inner_text() == "order=8"


def test_a_run_is_cancelled(shop: Any, open_page: Any) -> None:
    """The button stops it, and the page says so."""
    run = shop.post("/orders/9")
    page = open_page(f"/runs/{run}")
    page.get_by_role("button", name="Cancel run").click()
    page.locator("h1 + [role=status] .pill.cancelled").wait_for()
    assert "Cancelled: run cancelled." in page.locator(".alert").inner_text()
    assert shop.state(run) == "cancelled"


def test_what_a_reader_has_opened_stays_open(shop: Any, open_page: Any) -> None:
    """While the page follows the run, opened details, the place on the page and the chosen tab stay as they are."""
    shop.gates.open("check")
    run = shop.post("/orders/10")
    page = open_page(f"/runs/{run}?task=charge", viewport={"width": 900, "height": 500})
    page.locator(".tb details summary").first.click()
    page.evaluate("scrollTo(0, 400)")
    page.evaluate(
        "document.querySelector('#body').addEventListener('htmx:after:swap', () => { window.swapped = true })"
    )
    shop.gates.open("sync")
    page.locator("h1 + [role=status] .pill.failed").wait_for(state="attached")
    assert page.evaluate("document.querySelector('.tb details').open")
    assert page.evaluate("scrollY") == 400


def test_the_items_of_a_fan_out(shop: Any, open_page: Any) -> None:
    """Ten thousand items are one box; what failed among them is two clicks away, with its own error."""
    page = open_page(f"/runs/{shop.post('/imports?count=10000')}")
    page.locator("h1 + [role=status] .pill.failed").wait_for()
    assert page.locator(".wide .node").count() == 2
    node(page, "store").locator(".sub").get_by_text("1 of 10,000 failed", exact=True).wait_for(state="attached")
    panel = page.locator("#task")
    assert panel.locator(".items li").count() == 1
    panel.get_by_role("link", name="all 10,000").click()
    panel.locator(".pager").get_by_text("1–25 of 10,000").wait_for()
    panel.get_by_role("link", name="Next").click()
    panel.locator(".pager").get_by_text("26–50 of 10,000").wait_for()
    panel.get_by_role("link", name="failed 1").click()
    panel.get_by_role("link", name="store[7]").click()
    panel.locator(".exc", has_text="ValueError row 7 has no email").wait_for()


def test_values_and_definition(shop: Any, open_page: Any) -> None:
    """With `expose_values` the panel shows what a task took and returned; its definition shows its code."""
    shop.gates.open("check", "sync")
    shop.bank.solvent = True
    page = open_page(f"/runs/{shop.post('/orders/11')}?task=charge")
    page.get_by_role("link", name="Inputs and output").click()
    rows = page.locator("#task .kv tr").all_inner_texts()
    assert "from check" in rows[0]
    assert '"11"' in rows[0]
    assert "Depends(bank)" in rows[1]
    assert "not recorded" in rows[1]
    assert page.locator("#task > pre").inner_text() == '"receipt of 11"'
    page.get_by_role("link", name="Definition").click()
    assert "return bank.charge(check)" in page.locator("#task pre.code").inner_text()


def test_without_script_everything_works(shop: Any, open_page: Any) -> None:
    """Links, tabs and buttons are plain HTML; a reload takes the place of following."""
    run = shop.post("/orders/12")
    page = open_page("/", java_script_enabled=False)
    page.locator(f"#r-{run} a.chain").click()
    node(page, "charge").click()
    page.get_by_role("link", name="Definition").click()
    assert "Take the money." in page.locator("#task").inner_text()
    page.get_by_role("button", name="Cancel run").click()
    page.reload()
    assert page.locator("h1 + [role=status]").inner_text() == "cancelled"
