"""Full names that the plugin looks for, and the one error code that it reports under."""

from typing import Final

from mypy.errorcodes import ErrorCode

CHAIN_FLOW: Final = ErrorCode("chain-flow", "Check the values that flow between tasks", "fastapi_chain")
"""The only code: a sub-code would make `warn_unused_ignores` ask for the narrower one.

mypy must know it before it reads the first file, which may switch it off: so it is made with the plugin, not its hooks.
"""

TASK_VARIABLE: Final = "fastapi_chain.declare.task"
TASK_METHOD: Final = "fastapi_chain.declare.Registry.task"
REGISTRY: Final = "fastapi_chain.declare.Registry"
DEFAULT_REGISTRY: Final = "fastapi_chain.declare.default_registry"
DECORATORS: Final = ("fastapi_chain.declare.TaskDecorator", "fastapi_chain.declare.FanOutDecorator")
"""What `task(...)` returns."""

TASK: Final = "fastapi_chain.tasks.Task"
FAN_OUT: Final = "fastapi_chain.tasks.FanOut"
FROM: Final = "fastapi_chain.tasks.From"
FLOW: Final = "fastapi_chain.tasks.Flow"
FLOW_TASK: Final = "fastapi_chain.tasks.FlowTask"
FLOW_FAN_OUT: Final = "fastapi_chain.tasks.FlowFanOut"

CHAIN_FUNCTION: Final = "fastapi_chain.chains.chain"
CHAIN: Final = "fastapi_chain.chains.Chain"
FLOW_CHAIN: Final = "fastapi_chain.chains.FlowChain"

SPECIAL: Final = frozenset({
    "fastapi_chain.run.Run",
    "fastapi_chain.context.TaskContext",
    "fastapi_chain.context.Progress",
})  # fmt: skip
"""Types that a task gets by asking for them."""

REQUEST_BOUND: Final = frozenset({
    "starlette.requests.HTTPConnection",
    "starlette.responses.Response",
    "starlette.background.BackgroundTasks",
    "fastapi.security.oauth2.SecurityScopes",
})  # fmt: skip
"""Types that FastAPI gives by the type alone, their subclasses (`Request`, `WebSocket`) too."""

MARKERS: Final = frozenset({"Depends", "Security", "Header", "Query", "Path", "Cookie", "Body", "Form", "File"})
"""FastAPI's functions whose result in `Annotated[...]`, or as a default, makes FastAPI fill a parameter."""

MARKER_CLASSES: Final = frozenset({"fastapi.params.Depends", "fastapi.params.Param", "fastapi.params.Body"})
"""The classes of what those functions return."""

UPLOAD: Final = "starlette.datastructures.UploadFile"

ROUTERS: Final = frozenset({"fastapi.applications.FastAPI", "fastapi.routing.APIRouter", "starlette.routing.Router"})
ROUTES: Final = frozenset({
    "get", "post", "put", "patch", "delete", "options", "head", "trace", "api_route", "route", "websocket",
})  # fmt: skip
"""The decorators by which an app or a router takes an endpoint."""
