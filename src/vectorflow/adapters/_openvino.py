"""Transformer encoders on OpenVINO."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from vectorflow.errors import Unavailable

if TYPE_CHECKING:
    import openvino

_TOOLS = "openvino.tools.ovc"

Precision = Literal["bf16", "f32"]


def import_openvino() -> ModuleType:
    """Import OpenVINO without its model conversion tools.

    When imported, those report it to a web service; they also take longer than all the rest.
    """
    if "openvino" not in sys.modules:
        sys.modules[_TOOLS] = ModuleType(_TOOLS)
        try:
            import_module("openvino")
        finally:
            del sys.modules[_TOOLS]
    return sys.modules["openvino"]


def has_bf16() -> bool:
    """Tell whether this CPU multiplies bf16 numbers itself."""
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities


class OpenVinoEncoder:
    """A compiled encoder; `streams` runs may be under way at once, on `threads` threads in all."""

    def __init__(self, onnx: bytes, *, precision: Precision, streams: int, threads: int) -> None:
        """Compile it.

        Raises:
            Unavailable: OpenVINO cannot.
        """
        core = import_openvino().Core()
        try:
            model = core.read_model(onnx)
            _drop_guards(model)
            self._compiled: openvino.CompiledModel = core.compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": precision,
                    "NUM_STREAMS": streams,
                    "INFERENCE_NUM_THREADS": threads,
                    # Two processes on one machine would pin themselves to the same cores.
                    "ENABLE_CPU_PINNING": False,
                    # Else it rounds activations to int8 where weights are: not faster, less exact.
                    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
                },
            )
        except RuntimeError as error:
            raise Unavailable("OpenVINO cannot load the local model") from error

    def session(self) -> "OpenVinoSession":
        """Make a place where one run at a time may happen."""
        return OpenVinoSession(self._compiled.create_infer_request())


class OpenVinoSession:
    """One run at a time."""

    def __init__(self, request: "openvino.InferRequest") -> None:
        self._request = request

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give the hidden states (texts, tokens, dimensions), valid until the next run."""
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        try:
            self._request.infer(inputs, share_inputs=True)
        except RuntimeError as error:
            raise Unavailable("OpenVINO failed to run the local model") from error
        hidden: NDArray[np.float32] = self._request.get_output_tensor(0).data
        return hidden


def _drop_guards(model: "openvino.Model") -> None:
    """Take out what replaces NaN after softmax; it arises only where a row is wholly masked.

    No row is, as each text has its `[CLS]`; and without it OpenVINO fuses attention into one
    kernel, which makes the model 13 % faster.
    """
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "Softmax":
            for reader in operation.output(0).get_target_inputs():
                if reader.get_node().get_type_name() == "Select":
                    reader.get_node().output(0).replace(operation.output(0))
