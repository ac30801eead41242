"""Checks of webhooks, commands and environment variables."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from tests.docs.pages import ROOT
from tests.docs.v0_server import TEXT, Lab, check, hook
from tests.unit.api.door import sentence
from vectorflow import asgi, settings
from vectorflow.cli.main import COMMANDS
from vectorflow.settings import Settings

KEY = {"X-Webhook-Key": "hook-key"}


@check("webhook")
async def webhook(lab: Lab) -> None:
    async with lab.server() as server, hook() as receiver:
        url = f"http://127.0.0.1:{receiver.port}/hook"
        answer = await server.send(headers=KEY, WebhookURL=url, DocumentID="rules")
        assert await server.end_of(answer) == "COMPLETED"
        without = await server.send(headers=KEY, WebhookURL=url, text=b"Another.")
        assert await server.end_of(without) == "COMPLETED"

    [first, second] = [json.loads(body) for body in receiver.bodies]
    assert set(first) == {"Embeddings", "DocumentID", "JobID"}
    assert (first["DocumentID"], first["JobID"]) == ("rules", answer.json()["JobID"])
    assert second["DocumentID"] == ""
    [item] = first["Embeddings"]
    assert item["text"].strip() == TEXT.decode().strip()
    assert isinstance(item["chunk_id"], str)
    assert len(item["vector"]) == 8
    headers = [request.headers for request in receiver.requests]
    assert [sent["X-Embeddings-Webhook-Key"] for sent in headers] == ["hook-key"] * 2
    assert len({sent["X-VectorFlow-Delivery"] for sent in headers}) == 2


@check("webhook-statuses")
async def webhook_statuses(lab: Lab) -> None:
    async with lab.server() as server:
        for status in (200, 201, 202, 204):
            async with hook(status) as receiver:
                url = f"http://127.0.0.1:{receiver.port}/hook"
                answer = await server.send(headers=KEY, WebhookURL=url)
                assert await server.end_of(answer) == "COMPLETED"
                assert len(receiver.requests) == 1
        async with hook(503) as receiver:
            url = f"http://127.0.0.1:{receiver.port}/hook"
            answer = await server.send(headers=KEY, WebhookURL=url)
            assert await server.end_of(answer) == "COMPLETED"
            assert len(receiver.requests) == 2


def _keep_the_refund(chunks: list[dict[str, object]]) -> object:
    kept = [chunk for chunk in chunks if "refund" in str(chunk["text"])]
    return [chunk | {"text": "Rewritten.", "checked": True} for chunk in kept]


@check("validation")
async def validation(lab: Lab) -> None:
    async with lab.server() as server, hook(keep=_keep_the_refund) as validator:
        url = f"http://127.0.0.1:{validator.port}/valid"
        answer = await server.send(ChunkValidationURL=url)
        assert await server.end_of(answer) == "COMPLETED"
        [hit] = await server.hits()

    [body] = [json.loads(body) for body in validator.bodies]
    assert [set(chunk) for chunk in body["chunks"]] == [{"text", "chunk_id"}]
    assert (hit.text, hit.metadata["checked"]) == ("Rewritten.", True)


@check("validation-none")
async def validation_none(lab: Lab) -> None:
    async with lab.server() as server, hook(keep=lambda _chunks: []) as validator:
        url = f"http://127.0.0.1:{validator.port}/valid"
        answer = await server.send(ChunkValidationURL=url)
        assert await server.end_of(answer) == "FAILED"


@check("hook-addresses")
async def hook_addresses(lab: Lab) -> None:
    async with lab.server({"hooks.allow": ""}) as server:
        for url in (
            "http://93.184.216.34/hook",
            "https://127.0.0.1/hook",
            "https://169.254.169.254/",
        ):
            answer = await server.send(headers=KEY, WebhookURL=url)
            assert "VECTORFLOW_HOOKS__ALLOW" in sentence(answer, 400)


@check("setup")
async def setup(lab: Lab) -> None:
    del lab
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert "up" in COMMANDS
    assert re.search(r"^up: .*## ", makefile, re.MULTILINE)
    shipped = [*(ROOT / "src").rglob("*.py"), ROOT / "compose.yaml", ROOT / "Dockerfile"]
    assert not [path for path in shipped if "test123" in path.read_text("utf-8")]


@check("compose")
async def compose(lab: Lab) -> None:
    del lab
    text = (ROOT / "compose.yaml").read_text("utf-8")
    services = re.findall(
        r"^  (\w+):$", text.partition("\nservices:\n")[2].partition("\nvolumes:")[0], re.MULTILINE
    )
    assert services == ["postgres", "migrate", "api", "worker"]
    assert (ROOT / "deploy" / "sample.env").exists()


@check("images")
async def images(lab: Lab) -> None:
    del lab
    targets = re.findall(
        r"^FROM .* AS (\w+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    assert [name for name in targets if "_" in name] == ["vectorflow_api", "vectorflow_worker"]


@check("api")
async def api(lab: Lab) -> None:
    del lab
    assert "api" in COMMANDS
    assert callable(asgi.app)


@check("worker")
async def worker(lab: Lab) -> None:
    del lab
    assert "worker" in COMMANDS


@check("tables")
async def tables(lab: Lab) -> None:
    async with lab.server() as server:
        assert (await server.client.get("/readyz")).status_code == 200
    assert (lab.folder / "ledger.db").exists()
    assert "db" in COMMANDS


def _loaded(environ: Mapping[str, str]) -> Settings:
    return replace(settings.load(environ=environ, directory=ROOT / "docs"), origins={})


@check("env-key")
async def env_key(lab: Lab) -> None:
    del lab
    found = _loaded({"INTERNAL_API_KEY": "new, old"})
    assert [key.get_secret_value() for key in found.api.keys] == ["new", "old"]


@check("env-postgres")
async def env_postgres(lab: Lab) -> None:
    del lab
    environ = {"POSTGRES_HOST": "db", "POSTGRES_USERNAME": "me", "POSTGRES_PASSWORD": "p@ss/word"}
    for name in ("POSTGRES_DB", "POSTGRES_DATABASE_NAME"):
        found = _loaded(environ | {name: "jobs"})
        assert found.database_url == "postgresql://me:p%40ss%2Fword@db/jobs"
    other = _loaded(environ | {"POSTGRES_DB": "jobs", "DATABASE_URL": "postgresql://db:6000/x"})
    assert other.database_url == "postgresql://db:6000/x"
    assert _loaded({}).database_url.startswith("sqlite:")


@check("env-provider-keys")
async def env_provider_keys(lab: Lab) -> None:
    del lab
    for name in ("OPEN_AI_KEY", "OPENAI_API_KEY"):
        key = _loaded({name: "secret"}).openai.key
        assert key is not None
        assert key.get_secret_value() == "secret"
    for name in ("PINECONE_KEY", "PINECONE_API_KEY"):
        key = _loaded({name: "secret"}).pinecone.key
        assert key is not None
        assert key.get_secret_value() == "secret"


@check("env-api")
async def env_api(lab: Lab) -> None:
    del lab
    found = _loaded({"API_REQUEST_URL": "https://vectorflow.example"})
    assert found.server.url == "https://vectorflow.example"


@check("env-rabbitmq")
async def env_rabbitmq(lab: Lab) -> None:
    del lab
    environ = {"RABBITMQ_HOST": "mq", "RABBITMQ_USERNAME": "me", "RABBITMQ_PASSWORD": "p@ss/word"}
    assert _loaded(environ).queue_url == "amqp://me:p%40ss%2Fword@mq/"
    assert _loaded(environ | {"RABBITMQ_PORT": "5671"}).queue_url.startswith("amqps://")
    assert _loaded({}).queue_url == "polling://"


GONE = [
    "API_STORAGE_DIRECTORY", "EXTRACTION_QUEUE", "EMBEDDING_QUEUE", "VDB_UPLOAD_QUEUE",
    "RETRY_QUEUE", "IMAGE_QUEUE", "MINIO_ENDPOINT", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY",
    "MINIO_BUCKET", "TELEMETRY_DISABLED", "IMAGE_SEARCH_URL", "HUGGING_FACE_MODEL_FILE",
    "EMBEDDING_API_KEY", "VECTOR_DB_KEY",
]  # fmt: skip


@check("env-gone")
async def env_gone(lab: Lab) -> None:
    del lab
    assert _loaded(dict.fromkeys(GONE, "whatever")) == _loaded({})
