"""Write down what the routes answer, into docs/reference/http.md: `.venv/bin/python tools/answers.py`.

It starts docs/examples/guide/answers.py, follows a run to its end, asks for it and tries to cancel it. What differs
each time is written as `…`. tests/docs/test_answers.py fails when the answers have changed and the page has not.
"""

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "docs" / "examples" / "guide"
PAGE = ROOT / "docs" / "reference" / "http.md"
BEGIN, END = "<!-- answers: begin -->", "<!-- answers: end -->"
ID = "6f2c…"
SHOWN = ("HTTP/", "x-chain-run", "link", "location", "retry-after", "content-type: application/problem")
"""The headers that are worth to be shown."""

TEXT = """
The run is started and followed to its end. `…` stands for what differs each time; `run.snapshot` is the run as it is at
that moment, in the form of the answer below.

```console
$ uvicorn answers:app &
$ curl -i -X POST localhost:8000/orders/7
{accepted}
$ curl -N localhost:8000/chains/runs/6f2c…/events
{events}
```

What has become of it:

```console
$ curl localhost:8000/chains/runs/6f2c… | python -m json.tool --indent 2
{run}
```

And a problem, for it cannot be cancelled any more:

```console
$ curl -i -X POST localhost:8000/chains/runs/6f2c…/cancel
{refused}
```
"""


class Client:
    """Asks the app."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.run = ""

    def ask(self, method: str, path: str) -> tuple[str, str]:
        """Return the head and the body of an answer, as soon as there is one."""
        for _ in range(300):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                connection.request(method, path.replace(ID, self.run))
                answer = connection.getresponse()
                body = answer.read().decode()
            except ConnectionError:
                time.sleep(0.1)
                continue
            finally:
                connection.close()
            self.run = self.run or str(answer.headers["x-chain-run"])
            lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{n}: {v}" for n, v in answer.getheaders())]
            return "\n".join(line for line in lines if line.startswith(SHOWN)), body.strip()
        raise TimeoutError(path)

    def masked(self, text: str) -> str:
        """Return *text* without what differs each time."""
        text = text.replace(self.run, ID)
        text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "…", text)
        text = re.sub(r'("(?:duration_ms|backoff_ms)": ?)\d[\d.]*', r"\1…", text)
        text = re.sub(r'(Traceback \(most recent call last\):).*?(?=")', r"\1…", text)
        return re.sub(r'(data: \{"id":.*?"done":false,).*', r"\1…}", text)


@contextmanager
def serving() -> Iterator[Client]:
    """Serve the example."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "answers:app", "--port", str(port), "--log-level", "critical"]
    process = subprocess.Popen(command, cwd=EXAMPLES, stderr=subprocess.DEVNULL)
    try:
        yield Client(port)
    finally:
        process.terminate()
        process.wait(30)


def answers() -> str:
    """Return what stands between the marks of the page."""
    with serving() as client:
        accepted = "\n\n".join(client.ask("POST", "/orders/7"))
        _, events = client.ask("GET", f"/chains/runs/{ID}/events")
        _, run = client.ask("GET", f"/chains/runs/{ID}")
        refused = "\n\n".join(client.ask("POST", f"/chains/runs/{ID}/cancel"))
    run = json.dumps(json.loads(run), indent=2)
    return client.masked(TEXT.format(accepted=accepted, events=events, run=run, refused=refused))


def main() -> int:
    """Write the page anew; return an exit code."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{answers()}\n{END}{rest.partition(END)[2]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
