"""A classifier as a folder that timm and transformers load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrobust.core import UserError
from genrobust.tools.export.format import FORMATS, ClassifierFormat

if TYPE_CHECKING:
    from genrobust.classifiers import CheckpointInfo, Classifier


@FORMATS.register("timm")
class Timm(ClassifierFormat):
    """A folder for timm and transformers: ``timm.create_model("local-dir:FOLDER", pretrained=True)``."""

    library = "timm"
    opened_as = "{}"

    def write(self, model: Classifier, info: CheckpointInfo, folder: Path) -> None:
        from safetensors.torch import save_file

        from genrobust.classifiers import COSINE, DESCRIPTIONS, LABELS, TIMM_CONFIG, WEIGHTS, has_fixed_size, timm_name
        from genrobust.tools.export.classifier import preparation

        arguments, name = info.model_kwargs, timm_name(info.architecture).partition(".")[0]  # a tag is of other weights
        if name == "alexnet" or arguments.get("blur_pool") or COSINE in arguments:
            raise UserError(
                f"timm has no {info.architecture} of this kind (AlexNet, train.blur_pool, or head: text of a CLIP), so "
                "it could not load the folder: export it with --to onnx"
            )
        network: Any = model.network  # torch types every attribute as a tensor or a module
        fixed = has_fixed_size(info.architecture)
        # Not by timm's save_for_hf, which keeps the test size and crop of the network that this one began with, and
        # arguments that transformers passes itself.
        config = {
            "architecture": name,
            "num_classes": len(info.classes),
            "num_features": network.num_features,
            LABELS: list(info.classes),
            DESCRIPTIONS: info.descriptions,
            "model_args": {**arguments, **({"img_size": info.image_size} if fixed else {})},
            "pretrained_cfg": {
                **preparation(model, info),
                "fixed_input_size": fixed,
                "num_classes": len(info.classes),
                **{key: network.pretrained_cfg[key] for key in ("first_conv", "classifier")},
            },
        }
        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        (folder / TIMM_CONFIG).write_text(text, encoding="utf-8")
        tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        save_file(tensors, folder / WEIGHTS, {"format": "pt"})

    def usage(self, info: CheckpointInfo) -> str:
        return """import timm
from PIL import Image

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()  # the path of this folder
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
logits = model(transform(Image.open("image.png").convert("RGB"))[None])
print(model.pretrained_cfg["label_names"][logits.argmax()])
"""
