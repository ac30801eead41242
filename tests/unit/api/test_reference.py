from pathlib import Path

from vectorflow.api.app import make_app
from vectorflow.api.backend import Backend
from vectorflow.api.errors import STATUS
from vectorflow.api.routes.embed import FILE_PART, FILES_PART, URL_FIELD
from vectorflow.api.schemas import EmbeddingsMetadata, VectorDBMetadata

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "http.md"


def test_the_reference_names_every_route_field_and_status(backend: Backend) -> None:
    page = PAGE.read_text("utf-8")
    paths = make_app(backend).openapi()["paths"]
    words = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    words += [FILE_PART, FILES_PART, URL_FIELD, *EmbeddingsMetadata.model_fields]
    words += [*VectorDBMetadata.model_fields, *map(str, STATUS.values())]

    assert len(paths) >= 5
    assert [word for word in words if word not in page] == []
