from pathlib import Path

from fastapi.routing import APIRoute

from vectorflow.api.app import make_app
from vectorflow.api.backend import Backend
from vectorflow.api.errors import STATUS
from vectorflow.api.routes.embed import FILE_PART, LATER_FIELDS
from vectorflow.api.schemas import EmbeddingsMetadata, VectorDBMetadata

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "http.md"


def test_the_reference_names_every_route_field_and_status(backend: Backend) -> None:
    page = PAGE.read_text("utf-8")
    routes = [route for route in make_app(backend).routes if isinstance(route, APIRoute)]
    words = [f"{method} {route.path}" for route in routes for method in route.methods]
    words += [FILE_PART, *LATER_FIELDS, *EmbeddingsMetadata.model_fields]
    words += [*VectorDBMetadata.model_fields, *map(str, STATUS.values())]

    assert len(routes) >= 5
    assert [word for word in words if word not in page] == []
