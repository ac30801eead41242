"""One chunker of others at work, in the environment made for them; nothing of VectorFlow is in it.

    python inside.py CHUNKER FOLDER SIZE OVERLAP ROUNDS

Each is told to count with cl100k, and cuts all files in turn. The clock starts with it ready.
"""

# ruff: noqa: PLC0415 - only what the chosen chunker needs is imported

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

ENCODING = "cl100k_base"
MODEL = "gpt-4"
"""One that counts with this encoding, for those who are told a model."""

Cut = Callable[[str], Iterable[object]]


def langchain_recursive(size: int, overlap: int) -> Cut:
    from langchain_text_splitters import RecursiveCharacterTextSplitter as Splitter

    made = Splitter.from_tiktoken_encoder(ENCODING, chunk_size=size, chunk_overlap=overlap)
    return made.split_text


def langchain_tokens(size: int, overlap: int) -> Cut:
    from langchain_text_splitters import TokenTextSplitter

    made = TokenTextSplitter(encoding_name=ENCODING, chunk_size=size, chunk_overlap=overlap)
    return made.split_text


def langchain_markdown(size: int, overlap: int) -> Cut:
    from langchain_text_splitters import MarkdownTextSplitter as Splitter

    made = Splitter.from_tiktoken_encoder(ENCODING, chunk_size=size, chunk_overlap=overlap)
    return made.split_text


def chonkie_tokens(size: int, overlap: int) -> Cut:
    from chonkie import TokenChunker

    return TokenChunker(_encoding(), chunk_size=size, chunk_overlap=overlap).chunk


def chonkie_sentences(size: int, overlap: int) -> Cut:
    from chonkie import SentenceChunker

    return SentenceChunker(_encoding(), chunk_size=size, chunk_overlap=overlap).chunk


def chonkie_recursive(size: int, overlap: int) -> Cut:
    """It knows no overlap."""
    del overlap
    from chonkie import RecursiveChunker

    return RecursiveChunker(_encoding(), chunk_size=size).chunk


def semchunk(size: int, overlap: int) -> Cut:
    from semchunk import chunkerify

    made = chunkerify(_encoding(), size)
    return lambda text: made(text, overlap=overlap)


def semantic_text(size: int, overlap: int) -> Cut:
    from semantic_text_splitter import TextSplitter

    return TextSplitter.from_tiktoken_model(MODEL, size, overlap=overlap).chunks


def semantic_markdown(size: int, overlap: int) -> Cut:
    from semantic_text_splitter import MarkdownSplitter

    return MarkdownSplitter.from_tiktoken_model(MODEL, size, overlap=overlap).chunks


def llama_index_tokens(size: int, overlap: int) -> Cut:
    from llama_index.core.node_parser import TokenTextSplitter

    encode = _encoding().encode_ordinary
    return TokenTextSplitter(chunk_size=size, chunk_overlap=overlap, tokenizer=encode).split_text


def llama_index_sentences(size: int, overlap: int) -> Cut:
    from llama_index.core.node_parser import SentenceSplitter

    encode = _encoding().encode_ordinary
    return SentenceSplitter(chunk_size=size, chunk_overlap=overlap, tokenizer=encode).split_text


CHUNKERS: Mapping[str, Callable[[int, int], Cut]] = {
    "langchain recursive": langchain_recursive,
    "langchain tokens": langchain_tokens,
    "langchain markdown": langchain_markdown,
    "chonkie tokens": chonkie_tokens,
    "chonkie sentences": chonkie_sentences,
    "chonkie recursive": chonkie_recursive,
    "semchunk": semchunk,
    "semantic-text-splitter": semantic_text,
    "semantic-text-splitter markdown": semantic_markdown,
    "llama-index tokens": llama_index_tokens,
    "llama-index sentences": llama_index_sentences,
}


def main() -> None:
    name, folder, size, overlap, rounds = sys.argv[1:]
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path(folder).iterdir())]
    cut = CHUNKERS[name](int(size), int(overlap))
    list(cut(texts[0]))
    seconds: list[float] = []
    chunks = 0
    for _ in range(int(rounds)):
        started = time.process_time()
        chunks = sum(len(list(cut(text))) for text in texts)
        seconds.append(time.process_time() - started)
    print(json.dumps({"chunks": chunks, "cpu_seconds": median(seconds)}))


def _encoding() -> Any:  # noqa: ANN401 - a type of the other environment
    import tiktoken

    return tiktoken.get_encoding(ENCODING)


if __name__ == "__main__":
    main()
