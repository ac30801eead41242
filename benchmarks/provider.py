"""The fake provider as a process of its own, so that its work counts for nobody else."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.measuring import environment

KEY = "sk-benchmark"
EMBEDDER = "openai:text-embedding-3-small"
DIMENSIONS = 1536


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider that answers after `latency` seconds."""

    url: str

    @property
    def variables(self) -> dict[str, str]:
        """What makes VectorFlow embed with it."""
        return {
            "VECTORFLOW_EMBEDDER": EMBEDDER,
            "VECTORFLOW_OPENAI__BASE_URL": self.url,
            "VECTORFLOW_OPENAI__KEY": KEY,
        }

    def stats(self) -> dict[str, int]:
        """What it has answered so far."""
        address = self.url.removesuffix("/v1") + "/stats"
        with urllib.request.urlopen(address) as answer:  # noqa: S310 - our own process
            found: dict[str, int] = json.load(answer)
        return found


@contextmanager
def provider(latency: float) -> Iterator[Provider]:
    """Start a provider, and end it."""
    command = [sys.executable, "-m", "vectorflow.testing.provider", "--port", "0"]
    command += ["--latency", str(latency), "--key", KEY]
    process = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        yield Provider(url=process.stdout.readline().strip())
    finally:
        process.terminate()
        process.communicate()
