"""A classifier as a folder that timm and transformers load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrobust.tools.export.format import FORMATS, ClassifierFormat

if TYPE_CHECKING:
    from genrobust.classifiers import CheckpointInfo, Classifier


@FORMATS.register("timm")
class Timm(ClassifierFormat):
    """A folder for timm and transformers: ``timm.create_model("local-dir:FOLDER", pretrained=True)``."""

    library = "timm"
    opened_as = "{}"
    usage = """import timm
from PIL import Image

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()  # the path of this folder
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
logits = model(transform(Image.open("image.png").convert("RGB"))[None])
print(model.pretrained_cfg["label_names"][logits.argmax()])
"""

    def write(self, model: Classifier, info: CheckpointInfo, facts: dict[str, Any], folder: Path) -> None:
        from safetensors.torch import save_file

        from genrobust.classifiers import TIMM_CONFIG, WEIGHTS, has_fixed_size, timm_name

        # Not by timm's save_for_hf, which keeps the test size and crop of the network that this one began with, and
        # arguments that transformers passes itself.
        config = {
            "architecture": timm_name(info.architecture).partition(".")[0],  # a tag is of other weights
            "num_classes": len(info.classes),
            "model_args": info.model_kwargs,
            **facts,
            "pretrained_cfg": {**facts["pretrained_cfg"], "fixed_input_size": has_fixed_size(info.architecture)},
        }
        (folder / TIMM_CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
        tensors = {name: tensor.contiguous() for name, tensor in model.network.state_dict().items()}
        save_file(tensors, folder / WEIGHTS, {"format": "pt"})
