"""A client written from the documentation alone drives a real server."""

import time

UVICORN = ("uvicorn", "shop:app", "--port", "{port}")


def test_from_the_post_to_the_end(serve):
    """Start, follow, come back, wait, cancel, retry: every link comes from an answer."""
    server = serve(*UVICORN)
    status, headers, _ = server.post("/quick?n=1")
    assert status == 202
    stream = headers["link"].split(", ")[1].partition(">")[0].removeprefix("<")
    follower = server.follow(stream)
    assert follower.read() == "run.finished"
    follower.close()
    _, _, run = server.get(headers["location"], prefer="wait=10")
    assert run["state"] == "succeeded"
    assert [len(task["attempts"]) for task in run["tasks"]] == [1, 2]
    assert server.get(stream, last_event_id=str(run["seq"]))[0] == 204
    status, again, _ = server.post(run["links"]["retry"], content_type="application/json")
    assert (status, again["content-type"]) == (409, "application/problem+json")

    _, headers, _ = server.post("/waits")
    tag = server.get(headers["location"])[1]["etag"]
    begun = time.monotonic()
    assert server.get(headers["location"], if_none_match=tag, prefer="wait=1")[0] == 304
    assert time.monotonic() - begun >= 1
    _, _, run = server.get(headers["location"])
    assert server.post(run["links"]["cancel"])[0] == 202
    _, _, run = server.get(headers["location"], prefer="wait=10")
    assert (run["state"], run["links"]["cancel"]) == ("cancelled", None)
    states = [one["state"] for one in server.get("/chains/runs?limit=10")[2]["items"]]
    assert states == ["cancelled", "succeeded"]
    assert server.get("/chains/runs/nope")[2]["type"].endswith("run-not-found")
