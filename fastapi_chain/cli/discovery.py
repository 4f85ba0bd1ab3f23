"""Which app is meant: what was said, else what `fastapi run` would take."""

import importlib
import logging
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from fastapi_cli.config import FastAPIConfig
from fastapi_cli.discover import ImportData, get_import_data, get_import_data_from_import_string
from fastapi_cli.exceptions import FastAPICLIException
from pydantic import ValidationError

from fastapi_chain.errors import ChainError
from fastapi_chain.spec import Source

from .stopping import Stop

T = TypeVar("T")

# It logs what it then raises, and we tell that ourselves.
logging.getLogger("fastapi_cli").propagate = False
logging.getLogger("fastapi_cli").addHandler(logging.NullHandler())

_HOW: Final = {
    "entrypoint-option": "from --app",
    "entrypoint-pyproject": "from entrypoint in pyproject.toml",
    "path-argument": "from --app",
    "auto-discovery": "found as `fastapi run` finds it",
}


class ImportFailed(Stop):
    """The app cannot be imported."""

    def __init__(self, text: str, error: BaseException) -> None:
        """Say it in *text*; *error* is why."""
        super().__init__(text)
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An app."""

    app: Any
    """The app."""
    name: str
    """Where it is: `module:app`."""
    how: str
    """How it was found, in words."""


def find_app(wanted: str | None) -> Found:
    """Return the app that *wanted* names: `module:app`, or the path of a file.

    None: it is searched for as `fastapi run` does.

    Raises:
        Stop: There is none.
        ImportFailed: It cannot be imported.
    """
    data = _locate(wanted)
    module = data.module_data.module_import_str
    app = getattr(_imported(lambda: importlib.import_module(module)), data.app_name, None)
    if app is None:
        raise Stop(f"{module} has no app {data.app_name!r}")
    return Found(app=app, name=data.import_string, how=_HOW[data.module_config_source])


def _locate(wanted: str | None) -> ImportData:
    """Return where the app is; to find out, a module may have to be imported."""
    path = Path(wanted) if wanted is not None and (wanted.endswith(".py") or Path(wanted).exists()) else None
    try:
        config = FastAPIConfig.resolve(entrypoint=None if path is not None else wanted)
        if path is None and config.entrypoint is not None:
            return get_import_data_from_import_string(config.entrypoint, config.from_pyproject)
        return _imported(lambda: get_import_data(path=path))
    except FastAPICLIException as error:
        raise Stop(f"{str(error).rstrip('.')}; say which app: --app module:app") from error
    except ValidationError as error:
        raise Stop(f"pyproject.toml: [tool.fastapi] {error.errors()[0]['msg']}") from error


def _imported(load: Callable[[], T]) -> T:
    """Return what *load* gives; whatever a module of the user's raises when it is imported is what is told."""
    try:
        return load()
    except (KeyboardInterrupt, FastAPICLIException):
        raise
    except BaseException as error:
        raise _failed(error) from error


def _failed(error: BaseException) -> ImportFailed:
    """Return what to say of an error that an import has raised: in one line, with the place in the user's code."""
    what = error.problem() if isinstance(error, ChainError) else f"{type(error).__name__}: {error}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    if isinstance(error, SyntaxError) and error.filename is not None:
        where = Source(name="", file=error.filename, line=error.lineno or 1).at
    elif frames:
        where = Source(name="", file=frames[-1].filename, line=frames[-1].lineno or 1).at
    else:
        where = ""
    return ImportFailed(f"the app cannot be imported: {what}{f' ({where})' if where else ''}", error)


def _is_users(file: str) -> bool:
    """Whether *file* is neither ours nor a library's nor a part of Python itself."""
    roots = (str(Path(__file__).parent.parent), sys.prefix, sys.base_prefix, "<frozen")
    return not file.startswith(roots)
