"""Keys and addresses that a job is given anew, with the services that they are for."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from tests.exporting import opened, until_ended, working
from tests.integration.local_servers import Server, serving
from tests.unit.api.door import KEY, client_of, form, problem
from vectorflow.flow.engine import Engine
from vectorflow.testing.canary import find_canaries
from vectorflow.testing.ledgers import rows
from vectorflow.testing.provider import FakeProvider
from vectorflow.wiring.api import api_backend

GIVEN_KEY = "key-that-the-retry-brought"
GIVEN_PATH = "address-that-the-retry-brought"


@dataclass(slots=True)
class Hook:
    """A webhook or validation hook on this machine."""

    server: Server
    status: list[int] = field(default_factory=lambda: [403])

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server.port}/{path}"


@dataclass(slots=True)
class Desk:
    """An engine and its API."""

    engine: Engine
    client: httpx.AsyncClient

    async def upload(self, headers: Mapping[str, str], **fields: object) -> int:
        files = {"file": ("a.txt", b"Some text.")}
        answer = await self.client.post("/jobs", data=form(**fields), files=files, headers=headers)
        [job] = answer.json()["successful_uploads"].values()
        return int(job)

    async def post(
        self, job: int, step: str, headers: Mapping[str, str] | None = None, **body: object
    ) -> httpx.Response:
        path = f"/v1/jobs/{job}:{step}"
        return await self.client.post(path, json=body, headers=headers or {})

    async def state(self, job: int) -> str:
        answer = await self.client.get(f"/v1/jobs/{job}")
        return str(answer.json()["state"])

    def erased(self) -> bool:
        """Whether no credentials rest in the ledger, sealed or not."""
        database = self.engine.parts.database
        found = find_canaries([GIVEN_KEY, GIVEN_PATH], database=database, data_dir=None, texts={})
        return found == [] and rows(database, "SELECT * FROM credentials") == []


@asynccontextmanager
async def desk(folder: Path, **settings: object) -> AsyncIterator[Desk]:
    given = {"api.key": KEY, "hooks.allow": "127.0.0.1,127.0.0.2"} | settings
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(opened(folder, **given))
        backend = api_backend(engine.parts, environ={})
        client = await stack.enter_async_context(client_of(backend, vectorflowkey=KEY))
        yield Desk(engine, client)


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    async def answer(_request: web.Request) -> web.StreamResponse:
        if made.status[-1] != 200:
            return web.Response(status=made.status[-1])
        asked = json.loads(made.server.bodies[-1])
        return web.json_response({"valid_chunks": asked.get("chunks")})

    async with serving(answer) as server:
        made = Hook(server)
        yield made


async def test_what_went_to_a_webhook_is_retried_after_its_end_with_the_webhook_given_anew(
    tmp_path: Path, hook: Hook
) -> None:
    hook_key = {"x-webhook-key": "first"}
    given_key = {"x-webhook-key": GIVEN_KEY, "x-vectordb-key": "of-no-use"}
    async with desk(tmp_path) as at:
        job = await at.upload(hook_key, WebhookURL=hook.url("in"), DocumentID="d")
        await until_ended(at.engine.parts, job)
        hook.status.append(200)
        url = hook.url(GIVEN_PATH)

        bare = problem(await at.post(job, "retry"), 409)
        keyless = problem(await at.post(job, "retry", webhook_url=url), 409)
        addressless = problem(await at.post(job, "retry", given_key), 409)
        other = hook.url(GIVEN_PATH, "127.0.0.2")
        elsewhere = problem(await at.post(job, "retry", given_key, webhook_url=other), 400)
        private = problem(
            await at.post(job, "retry", given_key, webhook_url="https://10.0.0.1/x"), 400
        )
        state = await at.state(job)
        taken = await at.post(job, "retry", given_key, webhook_url=url)
        await until_ended(at.engine.parts, job)

        assert f"/v1/jobs/{job}:retry" in str(bare["fix"])
        assert keyless["fix"] == "send its webhook_url, and its key in X-Webhook-Key"
        assert addressless == keyless
        assert "not on the host of the webhook" in str(elsewhere["detail"])
        assert private["code"] == "forbidden_address"
        assert GIVEN_PATH not in str([bare, keyless, elsewhere, private])
        assert (state, taken.status_code) == ("failed", 202)
        assert await at.state(job) == "completed"
        assert at.erased()
    assert [request.path for request in hook.server.requests] == ["/in", f"/{GIVEN_PATH}"]
    assert hook.server.requests[-1].headers["x-embeddings-webhook-key"] == GIVEN_KEY


async def test_what_a_hook_validates_is_retried_with_that_hook_and_no_other(
    tmp_path: Path, hook: Hook
) -> None:
    async with desk(tmp_path) as at:
        job = await at.upload({}, ChunkValidationURL=hook.url("check?signed=once"))
        await until_ended(at.engine.parts, job)
        hook.status.append(200)

        bare = problem(await at.post(job, "retry"), 409)
        other = problem(await at.post(job, "retry", validation_url=hook.url("other")), 400)
        webhook = problem(
            await at.post(job, "retry", {"x-webhook-key": "x"}, webhook_url=hook.url("x")), 400
        )
        url = hook.url(f"check?signed={GIVEN_PATH}")
        taken = await at.post(job, "retry", validation_url=url)
        await until_ended(at.engine.parts, job)

        assert "validation hook was erased" in str(bare["detail"])
        assert "no validation hook at that validation_url" in str(other["detail"])
        assert f"job {job} has no webhook" in str(webhook["detail"])
        assert taken.status_code == 202
        assert await at.state(job) == "completed"
        assert at.erased()
    assert hook.server.requests[-1].query["signed"] == GIVEN_PATH


async def test_a_job_whose_key_was_refused_goes_on_with_a_better_one(tmp_path: Path) -> None:
    embeddings = {"embeddings_type": "OPEN_AI", "chunk_size": 64, "chunk_overlap": 8}
    wrong = {"x-embeddingapi-key": "key-that-is-refused"}
    better = {"x-embeddingapi-key": GIVEN_KEY}
    async with (
        FakeProvider(keys=[GIVEN_KEY]) as provider,
        desk(tmp_path, **{"openai.base_url": provider.url}) as at,
    ):
        job = await at.upload(wrong, EmbeddingsMetadata=embeddings)
        async with working(at.engine.parts):
            while await at.state(job) != "paused":
                pass
        resumed = await at.post(job, "resume", better)
        again = problem(await at.post(job, "resume", better), 409)
        await until_ended(at.engine.parts, job)

        assert (resumed.status_code, resumed.json()["state"]) == (200, "running")
        assert "only a paused job" in str(again["fix"])
        assert await at.state(job) == "completed"
        assert at.erased()
