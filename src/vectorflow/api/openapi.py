"""What OpenAPI is told of bodies that the framework does not read or write itself."""

from typing import Any

from pydantic import BaseModel

from vectorflow.api.errors import PROBLEM
from vectorflow.api.v1_schemas import Problem

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Refused",
        "content": {PROBLEM: {"schema": Problem.model_json_schema()}},
    }
}
"""Answers of every route that are no success."""


def optional_body(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a body that is read within bounds of our own."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": False, "content": content}}
