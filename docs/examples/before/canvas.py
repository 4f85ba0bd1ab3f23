"""A chord of Celery, as it was before; it runs here, without a broker."""

from celery import Celery, chord, group

app = Celery("shop")
app.conf.task_always_eager = True
app.conf.result_backend = "cache+memory://"


@app.task(autoretry_for=(ConnectionError,), max_retries=3, rate_limit="10/m")
def deliver(url: str) -> int:
    return 200


@app.task
def summary(statuses: list[int]) -> None:
    print(f"{len(statuses)} deliveries")


@app.task
def alert(request: object, error: Exception, traceback: object) -> None:
    print(f"alert: {error}")


def receive(urls: list[str]) -> None:
    # --8<-- [start:chord]
    chord(
        group(deliver.s(url) for url in urls),
        summary.s().on_error(alert.s()),
    )()
    # --8<-- [end:chord]
