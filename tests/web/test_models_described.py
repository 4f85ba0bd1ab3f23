"""The schema of what the router answers says what each field means."""

import inspect
from typing import NoReturn

import pytest

from fastapi_chain.web import models


def description(model: type[models.Model], field: str) -> object:
    return model.model_json_schema()["properties"][field].get("description")


def test_fields_are_described_by_their_docstrings():
    """Those that a model has inherited, and those that have another name outside, as well."""
    assert [
        description(models.ErrorModel, "task"),
        description(models.TaskErrorModel, "task"),
        description(models.TaskErrorModel, "traceback"),
        description(models.Retry, "from"),
    ] == [
        "The task that failed.",
        "The task that failed.",
        "Where it was raised, as Python prints it, without the exception's text; not in lists, nor of listed items.",
        "`failed`: what failed or was skipped because of it; `start`: everything; a task: that one and all after it.",
    ]


def test_without_their_source_fields_have_no_descriptions(monkeypatch: pytest.MonkeyPatch):
    """Where only bytecode is shipped, there is nothing to read; the schema is complete but for that."""

    def gone(_: object) -> NoReturn:
        raise OSError

    monkeypatch.setattr(inspect, "getsource", gone)
    models._docstrings.cache_clear()
    try:
        assert description(models.ErrorModel, "task") is None
    finally:
        models._docstrings.cache_clear()
