"""Checks of form fields, the keys of the metadata, and their values."""

import re

from tests.docs.v0_checks_http import make_collection
from tests.docs.v0_server import LOCAL, OPEN_AI, TEXT, Lab, Running, check
from tests.unit.api.door import STORE, form, sentence
from vectorflow import plugins
from vectorflow.api.names import CHUNKERS, STORES
from vectorflow.testing.pinecone_server import KEY as PINECONE_KEY
from vectorflow.testing.pinecone_server import PineconeServer
from vectorflow.testing.provider import FakeProvider
from vectorflow.testing.qdrant_server import QdrantServer

LINES = b"".join(b"Line %d of a hundred.\n" % number for number in range(100))


async def refusal(server: Running, **fields: object) -> str:
    return sentence(await server.send(**fields), 400)


@check("source-data")
async def source_data(lab: Lab) -> None:
    async with lab.server() as server:
        for path, part in (("/embed", "SourceData"), ("/jobs", "file")):
            answer = await server.client.post(path, data=form(), files={"x": (None, "y")})
            assert part in sentence(answer, 400)
        nameless = await server.client.post(
            "/embed", data=form(), files={"SourceData": ("", TEXT, "text/plain")}
        )
        assert sentence(nameless, 400)


@check("metadata-fields")
async def metadata_fields(lab: Lab) -> None:
    async with lab.server() as server:
        for name in ("EmbeddingsMetadata", "VectorDBMetadata"):
            assert f"{name} is missing" in await refusal(server, **{name: None})
            assert f"{name} is not JSON" in await refusal(server, **{name: "nonsense"})


@check("lines")
async def lines(lab: Lab) -> None:
    async with lab.server() as server:
        counts = []
        for fields in (
            {"LinesPerBatch": "10"},
            {"LinesPerChunk": "20"},
            {"LinesPerBatch": "10", "LinesPerChunk": "20"},
            {},
        ):
            answer = await server.send(text=LINES, **fields)
            found = re.search(r"\d+", answer.json()["message"])
            counts.append(int(found[0]) if found else 0)
            await server.end_of(answer)

    assert counts == [10, 5, 10, 1]


@check("document-id")
async def document_id(lab: Lab) -> None:
    async with lab.server() as server:
        for text in (b"The old text.", b"The new text.", b"The new text."):
            await server.end_of(await server.send(text=text, DocumentID="rules"))
        for _ in range(2):
            await server.end_of(await server.send(text=b"Another file."))
        hits = await server.hits()

    assert sorted(hit.text.strip() for hit in hits) == ["Another file.", "The new text."]


@check("overlap-field")
async def overlap_field(lab: Lab) -> None:
    sized = {"embeddings_type": "SELF_HOSTED", "chunk_size": 64}
    async with lab.server() as server:
        assert "overlap" in await refusal(server, EmbeddingsMetadata=sized, chunk_overlap="64")
        taken = await server.send(
            EmbeddingsMetadata=sized | {"chunk_overlap": 8}, chunk_overlap="64"
        )

    assert taken.status_code == 200


@check("unknown-fields")
async def unknown_fields(lab: Lab) -> None:
    async with lab.server() as server:
        answer = await server.send(ReturnVectors="true", TopK="10")

    assert answer.status_code == 200


@check("unknown-keys")
async def unknown_keys(lab: Lab) -> None:
    async with lab.server() as server:
        answer = await server.send(EmbeddingsMetadata=LOCAL | {"docker_image": "x"})

    assert answer.status_code == 200


@check("embeddings-types")
async def embeddings_types(lab: Lab) -> None:
    async with FakeProvider() as provider, lab.server({"openai.base_url": provider.url}) as server:
        for number, name in enumerate(("open_ai", "OPEN_AI", "Open_AI")):
            wanted = OPEN_AI | {"embeddings_type": name}
            answer = await server.send(text=b"Text %d." % number, EmbeddingsMetadata=wanted)
            assert await server.end_of(answer) == "COMPLETED"
        assert provider.stats.texts == 3


@check("embeddings-local")
async def embeddings_local(lab: Lab) -> None:
    async with lab.server() as server:
        for name in ("SELF_HOSTED", "self_hosted", "HUGGING_FACE", "hugging_face"):
            answer = await server.send(EmbeddingsMetadata=LOCAL | {"embeddings_type": name})
            assert await server.end_of(answer) == "COMPLETED"


@check("embeddings-not-yet")
async def embeddings_not_yet(lab: Lab) -> None:
    async with lab.server() as server:
        for name in ("COHERE", "ANTHROPIC", "JINA", "TITAN", "IMAGE"):
            wanted = LOCAL | {"embeddings_type": name}
            assert "open_ai" in await refusal(server, EmbeddingsMetadata=wanted)


@check("chunk-size")
async def chunk_size(lab: Lab) -> None:
    text = b"One word and more words. " * 60
    counts = []
    async with lab.server({"chunking.size": 50}) as server:
        for number, size in enumerate((20, None)):
            wanted = {
                "embeddings_type": "SELF_HOSTED",
                "chunk_strategy": "EXACT",
                "chunk_overlap": 0,
            }
            answer = await server.send(
                text=text,
                EmbeddingsMetadata=wanted | ({"chunk_size": size} if size else {}),
                VectorDBMetadata=STORE | {"index_name": f"docs{number}"},
            )
            assert await server.end_of(answer) == "COMPLETED"
            counts.append(len(await server.hits(f"docs{number}")))

    assert counts[0] > 2 * counts[1] > 4


@check("chunk-overlap")
async def chunk_overlap(lab: Lab) -> None:
    sized = {"embeddings_type": "SELF_HOSTED", "chunk_size": 64}
    async with lab.server() as server:
        for overlap in (0, 63):
            answer = await server.send(EmbeddingsMetadata=sized | {"chunk_overlap": overlap})
            assert answer.status_code == 200
        assert (await server.send(EmbeddingsMetadata=sized)).status_code == 200
        assert "below 64" in await refusal(server, EmbeddingsMetadata=sized | {"chunk_overlap": 64})


async def _cut(server: Running, strategy: str, size: int, text: bytes) -> list[str]:
    wanted = LOCAL | {"chunk_strategy": strategy, "chunk_size": size, "chunk_overlap": 0}
    index = strategy.lower()
    answer = await server.send(
        text=text, EmbeddingsMetadata=wanted, VectorDBMetadata=STORE | {"index_name": index}
    )
    assert await server.end_of(answer) == "COMPLETED"
    return [hit.text for hit in await server.hits(index)]


@check("strategies")
async def strategies(lab: Lab) -> None:
    text = b"alpha\nbeta gamma\n\nSecond paragraph. And a sentence."
    async with lab.server() as server:
        for strategy in ("EXACT", "paragraph", "Sentence"):
            texts = await _cut(server, strategy, 64, text)
            assert any("alpha\nbeta gamma" in one for one in texts)
        wanted = LOCAL | {"chunk_strategy": "nonsense"}
        assert "paragraph" in await refusal(server, EmbeddingsMetadata=wanted)


@check("strategies-by-characters")
async def strategies_by_characters(lab: Lab) -> None:
    text = b"A first sentence here. A second one there.\n\nAnother paragraph of it."
    async with lab.server() as server:
        for kind in ("EXACT", "PARAGRAPH", "SENTENCE"):
            texts = await _cut(server, f"{kind}_BY_CHARACTERS", 30, text)
            assert len(texts) >= 2
            assert max(map(len, texts)) <= 30


@check("strategy-custom")
async def strategy_custom(lab: Lab) -> None:
    async with lab.server() as server:
        wanted = LOCAL | {"chunk_strategy": "CUSTOM"}
        assert "chunk_strategy" in await refusal(server, EmbeddingsMetadata=wanted)

    assert set(CHUNKERS.values()) <= set(plugins.names("chunkers"))


@check("model")
async def model(lab: Lab) -> None:
    async with FakeProvider() as provider, lab.server({"openai.base_url": provider.url}) as server:
        for number, name in enumerate((None, "text-embedding-3-small", "text-embedding-3-large")):
            answer = await server.send(
                EmbeddingsMetadata=OPEN_AI | ({"model": name} if name else {}),
                VectorDBMetadata=STORE | {"index_name": f"docs{number}"},
            )
            assert await server.end_of(answer) == "COMPLETED"
        unknown = await server.send(EmbeddingsMetadata=OPEN_AI | {"model": "nonsense"})

    assert "nonsense" in sentence(unknown, 400)


@check("hugging-face")
async def hugging_face(lab: Lab) -> None:
    kind = LOCAL | {"embeddings_type": "HUGGING_FACE"}
    async with lab.server() as server:
        for name in ("8", "someone/8"):
            wanted = kind | {"hugging_face_model_name": name}
            assert (await server.send(EmbeddingsMetadata=wanted)).status_code == 200
        other = kind | {"hugging_face_model_name": "someone/other"}
        assert "other" in await refusal(server, EmbeddingsMetadata=other)


@check("store-types")
async def store_types(lab: Lab) -> None:
    async with QdrantServer() as qdrant, PineconeServer() as pinecone:
        await make_collection(qdrant)
        host = await pinecone.add_index("docs", dimension=8)
        given = {"pinecone.key": PINECONE_KEY, "pinecone.control_url": pinecone.url}
        async with lab.server(given) as server:
            for name in ("QDRANT", "qdrant", "PINECONE", "Pinecone"):
                where = host if name.lower() == "pinecone" else qdrant.http_url
                store = {"vector_db_type": name, "index_name": "docs", "environment": where}
                answer = await server.send(VectorDBMetadata=store)
                assert await server.end_of(answer) == "COMPLETED"


@check("store-own")
async def store_own(lab: Lab) -> None:
    given = {"store": f"lancedb://{lab.folder / 'vectors'}"}
    async with lab.server(given) as server:
        answer = await server.send(VectorDBMetadata=STORE | {"vector_db_type": "LANCEDB"})
        assert await server.end_of(answer) == "COMPLETED"
        other = STORE | {"vector_db_type": "PGVECTOR"}
        assert "lancedb" in await refusal(server, VectorDBMetadata=other)

    assert STORES["pgvector"] in plugins.names("vector_stores")


@check("stores-not-yet")
async def stores_not_yet(lab: Lab) -> None:
    async with lab.server() as server:
        for name in ("WEAVIATE", "MILVUS", "DEEPLAKE", "VESPA", "REDIS", "MONGODB"):
            store = STORE | {"vector_db_type": name}
            assert "send one of" in await refusal(server, VectorDBMetadata=store)


@check("index-name")
async def index_name(lab: Lab) -> None:
    async with QdrantServer() as qdrant, lab.server() as server:
        assert "index_name" in await refusal(server, VectorDBMetadata={"vector_db_type": "memory"})
        store = {"vector_db_type": "QDRANT", "index_name": "none", "environment": qdrant.http_url}
        missing = await server.send(VectorDBMetadata=store)

    assert "none" in missing.json()["error"]
    assert 400 <= missing.status_code < 500


@check("environment")
async def environment(lab: Lab) -> None:
    async with QdrantServer() as qdrant, PineconeServer() as pinecone:
        await make_collection(qdrant)
        await pinecone.add_index("docs", dimension=8)
        lab.patch.setenv("LOCAL_VECTOR_DB", f"127.0.0.1:{qdrant.port}")
        given = {"pinecone.key": PINECONE_KEY, "pinecone.control_url": pinecone.url}
        async with lab.server(given) as server:
            for kind, where in (
                ("QDRANT", f"127.0.0.1:{qdrant.port}"),
                ("QDRANT", qdrant.http_url),
                ("PINECONE", "us-east-1-aws"),
            ):
                store = {"vector_db_type": kind, "index_name": "docs", "environment": where}
                answer = await server.send(VectorDBMetadata=store)
                assert await server.end_of(answer) == "COMPLETED"


@check("collection")
async def collection(lab: Lab) -> None:
    async with PineconeServer() as pinecone:
        host = await pinecone.add_index("docs", dimension=8)
        store = {"vector_db_type": "PINECONE", "index_name": "docs", "environment": host}
        given = {"pinecone.key": PINECONE_KEY, "pinecone.control_url": pinecone.url}
        async with lab.server(given) as server:
            answer = await server.send(VectorDBMetadata=store | {"collection": "corner"})
            assert await server.end_of(answer) == "COMPLETED"
            own = await server.send(VectorDBMetadata=STORE | {"collection": "corner"})
        held = pinecone.index("docs").seen("corner")

    assert own.status_code == 200
    assert held
