"""All contact with FastAPI's less public parts.

    parts.py         what we use of FastAPI, loaded and probed on first use; the error if it looks different
    markers.py       is this parameter FastAPI's? (the one question that is asked where FastAPI may not be loaded)
    dependencies.py  what a function depends on, as our own tree; what the parameters of an endpoint are
    outermost.py     a layer around a whole app
    solving.py       FastAPI's own solver, outside of a request
    commit.py        when a request is really over
    routes.py        every route of an app

Importing this package does not import FastAPI. It supports every FastAPI from 0.115 on; where versions differ, the
function that knows says so.
"""

from .commit import Follower, commits_before_response, follow
from .dependencies import Dependency, InputKind, Kind, input_kinds, kind_of, read_again, read_call, read_params
from .markers import injection_marker, is_injected
from .outermost import wrap_app
from .parts import fastapi_version
from .routes import ApiRoute, api_routes, endpoint_ids, known_endpoints, overrides_of
from .solving import Solved, replace_calls, snapshot_scope, solve, synthetic_scope, without_secrets

__all__ = [
    "ApiRoute",
    "Dependency",
    "Follower",
    "InputKind",
    "Kind",
    "Solved",
    "api_routes",
    "commits_before_response",
    "endpoint_ids",
    "fastapi_version",
    "follow",
    "injection_marker",
    "input_kinds",
    "is_injected",
    "kind_of",
    "known_endpoints",
    "overrides_of",
    "read_again",
    "read_call",
    "read_params",
    "replace_calls",
    "snapshot_scope",
    "solve",
    "synthetic_scope",
    "without_secrets",
    "wrap_app",
]
