"""A classifier as an ONNX file."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrobust.tools.export.format import FORMATS, ClassifierFormat

if TYPE_CHECKING:
    from genrobust.classifiers import CheckpointInfo, Classifier


@FORMATS.register("onnx")
class Onnx(ClassifierFormat):
    """An ONNX file that takes bytes and normalizes them itself."""

    library = "onnx"
    opened_as = "{}/model.onnx"
    packages = ("onnx", "onnxruntime", "onnxscript")
    usage = """import json

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("FOLDER/model.onnx")  # the path of this folder
about = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
config = about["pretrained_cfg"]
size, side = config["input_size"][1], int(config["input_size"][1] / config["crop_pct"])
image = Image.open("image.png").convert("RGB")
shape = [side * length // min(image.size) for length in image.size]
image = image.resize(shape, Image.Resampling[config["interpolation"].upper()])
left, top = (round((length - size) / 2) for length in shape)
image = image.crop((left, top, left + size, top + size))
pixels = np.asarray(image).transpose(2, 0, 1)[None]  # uint8 [1, 3, size, size]: the file normalizes them
(logits,) = session.run(["logits"], {"images": pixels})
print(about["label_names"][logits[0].argmax()])
"""

    def write(self, model: Classifier, info: CheckpointInfo, facts: dict[str, Any], folder: Path) -> None:
        import onnx
        import torch

        example = torch.zeros(2, *facts["pretrained_cfg"]["input_size"], dtype=torch.uint8)
        # torch's exporter uses deprecated functions of torch.
        with warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                model.to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]  # torch's annotations
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=["images"],
                output_names=["logits"],
                verbose=False,
            )
        assert program is not None
        proto = program.model_proto
        for part in (proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.value_info):
            # Stack traces have paths of this machine.
            del part.metadata_props[:]
        stored = {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}
        onnx.helper.set_model_props(proto, stored)
        Path(self.opened_as.format(folder)).write_bytes(proto.SerializeToString(deterministic=True))
