"""ONNX Runtime: runs the graphs that `muybridge export` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muybridge.engines.engine import Function
from muybridge.engines.parts import Part

if TYPE_CHECKING:
    import onnxruntime


def function(part: Part, graph: bytes | Path, threads: int | None = None) -> Function:
    """The part of that graph, ready to run; `threads` as torch has them unless said."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a core that spins is another's loss
    source = str(graph) if isinstance(graph, Path) else graph
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return _running(session, part)


def _running(session: onnxruntime.InferenceSession, part: Part) -> Function:
    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        given = {name: x.contiguous().numpy() for name, x in zip(part.inputs, inputs, strict=True)}
        return [torch.from_numpy(out) for out in session.run(list(part.outputs), given)]

    return run
