"""Transformer encoders on ONNX Runtime."""

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vectorflow.errors import Unavailable

if TYPE_CHECKING:
    import onnxruntime


class OnnxRuntimeEncoder:
    """A loaded encoder; any number of runs may be under way, `threads` threads each."""

    def __init__(self, onnx: bytes, *, threads: int) -> None:
        """Load it.

        Raises:
            Unavailable: ONNX Runtime cannot.
        """
        import onnxruntime  # noqa: PLC0415

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_mem_pattern = False  # a plan for each shape, and hardly two runs share one
        # Idle threads would spin, and take the CPU from the rest of the pipeline.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                onnx, options, providers=["CPUExecutionProvider"]
            )
        except _errors() as error:
            raise Unavailable("ONNX Runtime cannot load the local model") from error

    def session(self) -> "OnnxRuntimeSession":
        """Make a place where one run at a time may happen."""
        return OnnxRuntimeSession(self._session)


class OnnxRuntimeSession:
    """One run at a time."""

    def __init__(self, session: "onnxruntime.InferenceSession") -> None:
        self._session = session

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give the hidden states (texts, tokens, dimensions)."""
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        try:
            return np.asarray(self._session.run(None, inputs)[0], dtype=np.float32)
        except _errors() as error:
            raise Unavailable("ONNX Runtime failed to run the local model") from error


def _errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: classes of its extension without a common ancestor of their own."""
    state = vars(import_module("onnxruntime.capi.onnxruntime_pybind11_state"))
    own = (value for value in state.values() if isinstance(value, type))
    return (RuntimeError, *(one for one in own if issubclass(one, Exception)))
