"""One sample of every error: the one that docs/errors.md shows."""

import pytest

from fastapi_chain import errors
from fastapi_chain.outcome import ErrorInfo
from fastapi_chain.spec import Source


def at(name: str, line: int, file: str = "shop/tasks.py") -> Source:
    """Return a place in the shop that all samples are about."""
    return Source(name=name, file=file, line=line)


RESERVE, CHARGE, INVOICE, RECEIPT = (
    at("reserve_stock", 12),
    at("charge_card", 21),
    at("write_invoice", 30),
    at("send_receipt", 44),
)
CHECKOUT = at("checkout", 9, "shop/api.py")
RUN = "7f3a09c1d2e84b55a6f70811c29d3e4f"

GENERAL: list[errors.ChainError] = [
    errors.ChainError(
        what="Two routers of this runtime have the same prefix '/chains'.",
        rows=[("first", "shop/api.py:5"), ("second", "shop/api.py:6")],
        fixes=['app.include_router(runtime.router(), prefix="/runs")'],
    ),
    errors.DeclarationError(
        what="Endpoint 'checkout' has two chains, but can start only one.",
        rows=[("declared at", CHECKOUT.at)],
        fixes=["@chain(send_receipt, write_invoice)"],
    ),
    errors.PlanError(
        what="Task 'ship' runs for each item, but two of its parameters could take the item.",
        rows=[("declared at", "shop/tasks.py:51"), ("could be", "line: Line"), ("could be", "spare: Line")],
        fixes=['@task(each={"line": lines})', '@task(each={"spare": lines})'],
    ),
    errors.EngineError(what="Engine 'dbos' has been closed, so it takes no more runs."),
    errors.RunError(what="Run '7f3a' is not the run of this request.", fixes=["take it as a parameter: run: Run"]),
]

DECLARED: list[errors.ChainError] = [
    errors.GeneratorTask(task=at("export_rows", 60)),
    errors.MethodTask(task=at("send", 8, "shop/mail.py"), owner="Mailer"),
    errors.DuplicateTask(
        name="notify", first=at("notify", 51), second=at("notify", 7, "shop/admin.py"), where="registry 'default'"
    ),
    errors.CalledInsteadOfNamed(task=RECEIPT, option="after", called="charge_card"),
    errors.BadOption(
        task=CHARGE, option="retries", value=-1, wanted="a whole number, 0 or more", example="@task(retries=3)"
    ),
    errors.StreamingEndpoint(endpoint=at("export", 31, "shop/api.py")),
]

PLANNED: list[errors.ChainError] = [
    errors.CycleError(
        path=((RESERVE, "needs 'payment'"), (CHARGE, "needs 'invoice'"), (INVOICE, "after=[reserve_stock]"))
    ),
    errors.UnknownTask(
        task=RECEIPT,
        wanted="charge_cart",
        option="after",
        known=("charge_card", "reserve_stock", "write_invoice"),
        chain="checkout",
    ),
    errors.UnknownParameter(
        task=RECEIPT, param="reciept_id", type=int, upstream=("payment", "receipt_id"), endpoint=("order_id",)
    ),
    errors.NotUpstream(task=RECEIPT, producer=at("charge", 21), param="charge"),
    errors.AmbiguousProducer(
        task=RECEIPT, param="address", producers=(at("billing_address", 8), at("shipping_address", 16))
    ),
    errors.TypeMismatch(param="payment", producer=CHARGE, returns="Payment | None", consumer=RECEIPT, takes="Payment"),
    errors.MissingInput(
        route="POST /orders", endpoint=CHECKOUT, needed=(("order_id", int, CHARGE),), gives=("order", "user")
    ),
    errors.DuplicateChain(name="checkout", first=CHECKOUT, second=at("buy_again", 18, "shop/api.py")),
    errors.RequestBoundDependency(
        task=at("audit", 80), path=("user", "current_user", "oauth2_scheme", "Request"), engine="dbos"
    ),
    errors.ClosedInput(endpoint=CHECKOUT, param="db", reason="yield-dependency", task=RESERVE),
    errors.DecoratorOrder(endpoint=CHECKOUT, route="POST /orders"),
]

ENGINES: list[errors.ChainError] = [
    errors.EngineNotInstalled(engine="sqlite:///chains.db", extra="durable", module="dbos"),
    errors.EngineUnavailable(engine="postgresql://db.example.com/chains", reason="connection refused"),
    errors.UnserializableOutput(
        task=at("open_report", 70),
        engine="dbos",
        type="TextIOWrapper",
        where="result['file']",
        reason="it is no JSON value",
    ),
]

RUNS: list[errors.ChainError] = [
    errors.UnknownInput(chain="checkout", name="oder_id", known=("order_id", "user")),
    errors.DeadlineExceeded(chain="checkout", seconds=300.0, run=RUN),
    errors.RunNotFinished(run=RUN, state="running"),
    errors.NothingToRetry(run=RUN),
    errors.TaskFailed(task="charge_card", error=ErrorInfo("CardDeclined", "insufficient funds"), attempts=4, run=RUN),
    errors.TaskSkipped(task="send_receipt", reason="upstream_failed: charge_card", run=RUN),
    errors.TaskCancelled(task="send_receipt", reason="deadline", run=RUN),
    errors.TaskTimeout(task="charge_card", seconds=30.0, attempt=1, max_attempts=4),
    errors.OutputValidationError(
        task=at("count_rows", 66), value="12", expected=int, complaints=("Input should be a valid integer",)
    ),
    errors.RunNotFound(run=RUN),
    errors.RunFinished(run=RUN, state="succeeded"),
    errors.RunCancelled(run=RUN, reason="run_cancelled"),
    errors.QueueFull(chain="checkout", max_pending=1000, retry_after=2.0),
]

WHOLE: list[errors.ChainError] = [
    errors.InvalidChain(
        chain="checkout",
        problems=(
            errors.NotUpstream(task=RECEIPT, producer=at("charge", 21), param="charge"),
            errors.AmbiguousProducer(
                task=RECEIPT, param="address", producers=(at("billing_address", 8), at("shipping_address", 16))
            ),
        ),
    )
]


@pytest.fixture(scope="session")
def samples() -> dict[type[errors.ChainError], errors.ChainError]:
    """Return one error of every class."""
    return {type(error): error for error in [*GENERAL, *DECLARED, *PLANNED, *ENGINES, *RUNS, *WHOLE]}
