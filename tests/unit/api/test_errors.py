import logging
from dataclasses import replace

import httpx
import pytest

from tests.unit.api.door import KEY, a_file, client_of, form, problem, sentence
from vectorflow import errors
from vectorflow.api import errors as api_errors
from vectorflow.api.backend import Backend
from vectorflow.errors import InvalidSetting, TooLarge, Unavailable, VectorFlowError

CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, VectorFlowError)
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_a_status(kind: type[VectorFlowError]) -> None:
    assert len(CLASSES) > 20
    assert 400 <= api_errors.STATUS[kind] <= 599


def test_an_error_of_a_plugin_has_the_status_of_its_parent() -> None:
    class OfAPlugin(TooLarge):
        pass

    assert api_errors.status_of(OfAPlugin("too much")) == 413


async def test_the_operators_mistakes_are_not_shown_to_clients(backend: Backend) -> None:
    async def open_index(*_given: object) -> int:
        raise InvalidSetting("the ledger cannot be written: /secret/path")

    async with client_of(replace(backend, open_index=open_index), vectorflowkey=KEY) as client:
        answer = await client.post("/embed", data=form(), files=a_file())

    assert "secret" not in sentence(answer, 500)


async def test_what_nobody_foresaw_is_500_in_json_and_its_text_stays_inside(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    async def open_index(*_given: object) -> int:
        raise RuntimeError("text of a document")

    async with client_of(replace(backend, open_index=open_index), vectorflowkey=KEY) as client:
        with caplog.at_level(logging.ERROR):
            answer = await client.post("/embed", data=form(), files=a_file())

    assert "document" not in sentence(answer, 500)
    assert "text of a document" not in caplog.text
    [record] = [record for record in caplog.records if record.message == "request_failed"]
    assert record.error == "RuntimeError"
    assert any("test_errors.py" in place for place in record.where)


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("text of a document"), 500), (Unavailable("away"), 503)]
)
async def test_below_v1_what_went_wrong_inside_is_a_problem_too(
    backend: Backend, error: Exception, status: int
) -> None:
    class Broken:
        async def read(self, _transaction: object) -> object:
            raise error

    broken = replace(backend, database=Broken())  # type: ignore[arg-type]
    async with client_of(broken, vectorflowkey=KEY) as client:
        answer = await client.get("/v1/jobs/1")

    said = problem(answer, status)
    assert "document" not in answer.text
    assert said["fix"]
    assert ("retry-after" in answer.headers) is (status == 503)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/embed", 405),
        ("PUT", "/jobs/1/status", 405),
        ("GET", "/jobs/status", 405),
        ("POST", "/livez", 405),
        ("GET", "/docs", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/nowhere", 404),
        ("PUT", "/v1/jobs", 405),
        ("GET", "/jobs/abc/status", 404),
        ("GET", "/jobs/-1/status", 404),
        ("GET", "/jobs/0/status", 404),
        ("GET", "/jobs/1.5/status", 404),
        ("GET", f"/jobs/{'9' * 19}/status", 404),
        ("GET", f"/jobs/{'9' * 5000}/status", 404),
    ],
)
async def test_what_is_not_there_answers_in_json(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)

    assert len(sentence(answer, status)) > 20
    if status == 405:
        assert answer.headers["allow"]
