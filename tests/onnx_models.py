"""Tiny classifiers as ONNX files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnx import TensorProto, helper


def write_onnx(
    path: Path,
    shape: Sequence[Any] = ("n", 3, 16, 16),
    kind: int = TensorProto.FLOAT,
    inputs: int = 1,
    last: str = "Identity",
    bias: float = 0,
    at: str = "",
    **metadata: Any,
) -> Path:
    """Write a file whose three logits are the mean of each channel and `bias`, which may lie in the file `at`.

    `last` is an operator on them.
    """
    given = [helper.make_tensor_value_info(f"in{i}", kind, list(shape)) for i in range(inputs)]
    nodes = [
        helper.make_node("Cast", ["in0"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "bias"], ["sum"]),
        helper.make_node(last, ["sum"], ["out"]),
    ]
    added = helper.make_tensor("bias", TensorProto.FLOAT, [3], [0.0, bias, 0.0])
    if at:
        added.ClearField("float_data")
        added.data_location = TensorProto.EXTERNAL
        for key, value in {"location": at, "offset": "0", "length": "12"}.items():
            added.external_data.add(key=key, value=value)
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [shape[0], 3])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    graph = helper.make_graph(nodes, "g", given, [out], [axes, added])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()})
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path
