"""One peer at work, in the environment made for peers; nothing of VectorFlow is in it.

    python inside.py PEER MODEL FOLDER SCRATCH
    python inside.py export MODEL TARGET

Each peer is a generator: ready where it first yields, done where it yields again what reads back
the texts that it has embedded. In between it runs as its own documentation shows, told to make
chunks of 254 tokens without overlap as well as it can be told.
"""

# ruff: noqa: PLC0415 - only what the chosen peer needs is imported

import asyncio
import importlib
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

CHUNK_TOKENS = 254
"""What MiniLM reads of a text, without its two special tokens."""
WRITE_ROWS = 1_000
BYTES_PER_TOKEN = 3.4
"""Of English text, for those who count bytes."""

Texts = Callable[[], list[str]]
Peer = Callable[[Path, Path, Path], Iterator[Texts]]


def plain(model: Path, folder: Path, scratch: Path, dtype: str = "float32") -> Iterator[Texts]:
    """Sort nothing by hand, as `encode` sorts all that it is given."""
    import torch
    from sentence_transformers import SentenceTransformer

    kind = {"dtype": getattr(torch, dtype)}
    encoder = SentenceTransformer(str(model), device="cpu", model_kwargs=kind)
    collection, windows = _chroma(scratch), Windows(model)
    encoder.encode(["ready"])
    yield list
    chunks = [chunk for path in _files(folder) for chunk in windows(_read(path))]
    vectors = encoder.encode(chunks, batch_size=32, normalize_embeddings=True)
    for at in range(0, len(chunks), WRITE_ROWS):
        rows = slice(at, at + WRITE_ROWS)
        names = [str(number) for number in range(len(chunks))[rows]]
        collection.add(ids=names, documents=chunks[rows], embeddings=vectors[rows])
    yield lambda: collection.get()["documents"]


def plain_bf16(model: Path, folder: Path, scratch: Path) -> Iterator[Texts]:
    """The same with the one option that helps most on a CPU with bf16."""
    yield from plain(model, folder, scratch, "bfloat16")


def chroma(model: Path, folder: Path, scratch: Path) -> Iterator[Texts]:
    """Let the store embed with its default function, on ONNX Runtime."""
    from chromadb.utils.embedding_functions import ONNXMiniLM_L6_V2

    ONNXMiniLM_L6_V2.DOWNLOAD_PATH = model.parent / "chroma"
    function = ONNXMiniLM_L6_V2(preferred_providers=["CPUExecutionProvider"])
    collection, windows = _chroma(scratch, function), Windows(model)
    function(["ready"])
    yield list
    chunks = [chunk for path in _files(folder) for chunk in windows(_read(path))]
    for at in range(0, len(chunks), WRITE_ROWS):
        rows = slice(at, at + WRITE_ROWS)
        names = [str(number) for number in range(len(chunks))[rows]]
        collection.add(ids=names, documents=chunks[rows])
    yield lambda: collection.get()["documents"]


def langchain(model: Path, folder: Path, scratch: Path) -> Iterator[Texts]:
    """Index with a record manager, so that a second run would know what is there."""
    from langchain_chroma import Chroma
    from langchain_classic.indexes import SQLRecordManager
    from langchain_core.documents import Document
    from langchain_core.indexing import index
    from langchain_huggingface import HuggingFaceEmbeddings
    from langchain_text_splitters import RecursiveCharacterTextSplitter
    from transformers import AutoTokenizer

    encoding = {"normalize_embeddings": True, "batch_size": 32}
    embeddings = HuggingFaceEmbeddings(model_name=str(model), encode_kwargs=encoding)
    store = Chroma("peer", embeddings, persist_directory=str(scratch / "chroma"))
    records = SQLRecordManager("peer", db_url=f"sqlite:///{scratch / 'records.db'}")
    records.create_schema()
    splitter = RecursiveCharacterTextSplitter.from_huggingface_tokenizer(
        AutoTokenizer.from_pretrained(str(model)), chunk_size=CHUNK_TOKENS, chunk_overlap=0
    )
    embeddings.embed_documents(["ready"])
    yield list
    read = [Document(_read(path), metadata={"source": str(path)}) for path in _files(folder)]
    index(
        splitter.split_documents(read),
        records,
        store,
        cleanup="incremental",
        source_id_key="source",
        batch_size=WRITE_ROWS,
        key_encoder="blake2b",
    )
    yield lambda: store.get()["documents"]


def llama_index(model: Path, folder: Path, scratch: Path) -> Iterator[Texts]:
    """Run an ingestion pipeline with a document store."""
    from llama_index.core import Document
    from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.core.storage.docstore import SimpleDocumentStore
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.vector_stores.chroma import ChromaVectorStore
    from transformers import AutoTokenizer

    tokenize = AutoTokenizer.from_pretrained(str(model)).tokenize
    embedding = HuggingFaceEmbedding(str(model), device="cpu", embed_batch_size=64)
    collection = _chroma(scratch)
    pipeline = IngestionPipeline(
        transformations=[
            SentenceSplitter(chunk_size=CHUNK_TOKENS, chunk_overlap=0, tokenizer=tokenize),
            embedding,
        ],
        vector_store=ChromaVectorStore(chroma_collection=collection),
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS,
        disable_cache=True,
    )
    embedding.get_text_embedding("ready")
    yield list
    pipeline.run(documents=[Document(text=_read(p), doc_id=str(p)) for p in _files(folder)])
    yield lambda: collection.get()["documents"]


def haystack(model: Path, folder: Path, scratch: Path) -> Iterator[Texts]:
    """Connect converter, splitter, embedder and writer."""
    from haystack import Pipeline
    from haystack.components.converters import TextFileToDocument
    from haystack.components.preprocessors import DocumentSplitter
    from haystack.components.writers import DocumentWriter
    from haystack_integrations.components.embedders import sentence_transformers
    from haystack_integrations.document_stores.chroma import ChromaDocumentStore

    store = ChromaDocumentStore(persist_path=str(scratch / "chroma"))
    embedder = sentence_transformers.SentenceTransformersDocumentEmbedder(
        model=str(model), batch_size=32, progress_bar=False, normalize_embeddings=True
    )
    pipeline = Pipeline()
    pipeline.add_component("converter", TextFileToDocument())
    splitter = DocumentSplitter(split_by="function", splitting_function=Windows(model))
    pipeline.add_component("splitter", splitter)
    pipeline.add_component("embedder", embedder)
    pipeline.add_component("writer", DocumentWriter(store))
    pipeline.connect("converter", "splitter")
    pipeline.connect("splitter", "embedder")
    pipeline.connect("embedder", "writer")
    pipeline.warm_up()
    yield list
    pipeline.run({"converter": {"sources": _files(folder)}})
    yield lambda: [document.content or "" for document in store.filter_documents()]


def cocoindex(model: Path, folder: Path, scratch: Path) -> Iterator[Texts]:
    """Declare rows of a LanceDB table; its splitter counts bytes."""
    from inside_cocoindex import make_app, texts_of

    app, ready = make_app(model, folder, scratch, int(CHUNK_TOKENS * BYTES_PER_TOKEN))
    asyncio.run(ready())
    yield list
    app.update_blocking()
    yield partial(texts_of, scratch)


class Windows:
    """Cuts windows of 254 tokens between characters of the text."""

    def __init__(self, model: Path) -> None:
        tokenizers = importlib.import_module("tokenizers")
        self._tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def __call__(self, text: str) -> list[str]:
        """Cut a text."""
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return [
            text[offsets[at][0] : offsets[min(at + CHUNK_TOKENS, len(offsets)) - 1][1]]
            for at in range(0, len(offsets), CHUNK_TOKENS)
        ]

    def count(self, texts: list[str]) -> list[int]:
        """Count the tokens of texts."""
        return [
            len(one.ids) for one in self._tokenizer.encode_batch(texts, add_special_tokens=False)
        ]


def _chroma(scratch: Path, function: object = None) -> object:
    import chromadb

    client = chromadb.PersistentClient(str(scratch / "chroma"))
    return client.create_collection("peer", embedding_function=function)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.txt"))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def export(model: Path, target: Path) -> None:
    """Make the ONNX file that Chroma would download, out of the same weights."""
    import torch
    from transformers import AutoModel

    target.mkdir(parents=True, exist_ok=True)
    for path in model.glob("*.*"):
        if path.suffix in {".json", ".txt"}:
            shutil.copy(path, target)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=512)
    torch.onnx.export(
        AutoModel.from_pretrained(str(model), attn_implementation="eager").eval(),
        tuple(torch.ones(2, 8, dtype=torch.int64) for _ in names),
        str(target / "model.onnx"),
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_shapes=tuple({0: batch, 1: length} for _ in names),
        dynamo=True,
        external_data=False,
    )


def _cpu_seconds() -> float:
    """User and system time of this process, its ended children, and those still alive."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    ended = sum(one.ru_utime + one.ru_stime for one in used)
    return ended + sum(map(_cpu_seconds_of, _descendants(os.getpid())))


def _descendants(pid: int) -> Iterator[int]:
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, listed.read_text().split()):
            yield child
            yield from _descendants(child)


def _cpu_seconds_of(pid: int) -> float:
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


PEERS: dict[str, Peer] = {
    "sentence-transformers": plain,
    "sentence-transformers, bf16": plain_bf16,
    "chroma": chroma,
    "langchain": langchain,
    "llama-index": llama_index,
    "haystack": haystack,
    "cocoindex": cocoindex,
}


def main(name: str, model: str, folder: str, scratch: str) -> None:
    """Run a peer and print what it did as a line of JSON."""
    peer = PEERS[name](Path(model), Path(folder), Path(scratch))
    next(peer)
    began, used = time.perf_counter(), _cpu_seconds()
    texts_of = next(peer)
    seconds, spent = time.perf_counter() - began, _cpu_seconds() - used
    counts = Windows(Path(model)).count(texts_of())
    said = {
        "chunks": len(counts),
        "tokens": sum(min(count, CHUNK_TOKENS) for count in counts),
        "truncated": sum(count > CHUNK_TOKENS for count in counts),
        "seconds": seconds,
        "cpu_seconds": spent,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main(*sys.argv[1:5])
