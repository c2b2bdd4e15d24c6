"""CLIPs on disk, in transformers' format or in open_clip's. Their hashes are known without torch."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from genrobust.core import PUBLISHED_CLIP, MissingPackage, UserError, hash_folder, parse_json, reading

if TYPE_CHECKING:  # torch and transformers take seconds
    from torch import Tensor, nn
    from transformers import CLIPModel, CLIPVisionConfig, CLIPVisionModelWithProjection

CONFIG, OPEN_CLIP = "config.json", "open_clip_config.json"
CLIP_FILES = (
    CONFIG,
    OPEN_CLIP,
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
TOWER = "clip_vision_model"  # transformers' model_type without a text tower
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # open_clip's defaults
# What open_clip's plain transformers are described by. Other keys name other networks, on the hub too.
_MODEL = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text"}
_VISION = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio", "patch_dropout"}
_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
# A network, and its `encode_images`, `encode_texts` and `context` as in `Clip`.
LoadedClip = tuple["nn.Module", Callable[["Tensor"], "Tensor"], Callable[[Any], "Tensor"], int]


class ClipFolder(ABC):
    """A CLIP in `folder`, in one of two formats. Nothing is fetched or unpickled.

    What its files say may be a stranger's: all that reads them may raise any error of the libraries.

    Attributes:
        described_in: The files that say what it is.
        weights: Patterns of the names of its weights, which are safetensors.
    """

    described_in: ClassVar[tuple[str, ...]]
    weights: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def has_weights(self) -> bool:
        """Whether any weights are there."""
        return any(path for pattern in self.weights for path in self.folder.glob(pattern))

    def hash(self) -> str:
        """Return a hash of all that it is read from: a hub's folder may also hold what others fetched."""
        return hash_folder(self.folder, (*CLIP_FILES, *self.weights))

    def require_files(self) -> None:
        """Raise UserError where a file is missing that a whole CLIP has; the message names it."""
        folder = self.folder
        for name in (*self.described_in, "tokenizer_config.json"):
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder} is no CLIP folder: {name if folder.is_dir() else 'the folder'} is missing; fetch one, "
                    f"for example with hf download {PUBLISHED_CLIP} --local-dir {shlex.quote(str(folder))}, or save a "
                    "CLIPModel, its CLIPTokenizer and its CLIPImageProcessor there with save_pretrained"
                )

    def _require_weights(self) -> None:
        if not self.has_weights:
            raise ValueError("its weights are missing: save them as safetensors, since nothing is unpickled")

    @abstractmethod
    def vision(self) -> tuple[CLIPVisionConfig, int | None]:
        """Return the configuration of the image tower, and the width of the embeddings, None without a text tower."""

    @abstractmethod
    def preparation(self) -> dict[str, Any]:
        """Return its `mean`, `std` and `interpolation`."""

    @abstractmethod
    def load(self) -> LoadedClip:
        """Load it in float32; raises ValueError where it has no text tower."""

    @abstractmethod
    def timm_tensors(self, network: Any) -> tuple[Mapping[str, Tensor], Tensor]:
        """Return the weights of the image tower as timm's `network` names them, and those of the projection."""


class TransformersClip(ClipFolder):
    """A CLIP that transformers' ``save_pretrained`` wrote."""

    described_in = (CONFIG, "preprocessor_config.json")
    weights = ("model.safetensors*", "model-*.safetensors")  # which may be in several files

    def vision(self) -> tuple[CLIPVisionConfig, int | None]:
        from transformers import CLIPConfig, CLIPVisionConfig

        raw: dict[str, Any] = parse_json((self.folder / CONFIG).read_bytes())
        if raw.get("model_type") == TOWER:
            return CLIPVisionConfig.from_dict(raw), None
        config: Any = CLIPConfig.from_dict(raw)
        return config.vision_config, config.projection_dim

    def preparation(self) -> dict[str, Any]:
        from transformers import CLIPImageProcessor

        processor: Any = CLIPImageProcessor.from_pretrained(self.folder, local_files_only=True)
        return {
            "mean": processor.image_mean,
            "std": processor.image_std,
            "interpolation": {2: "bilinear", 3: "bicubic"}.get(int(processor.resample), "another"),  # Pillow's numbers
        }

    def load(self) -> LoadedClip:
        model: Any = self._network()
        if self.vision()[1] is None:
            raise ValueError("it has no text tower")

        def encode_images(pixels: Tensor) -> Tensor:
            return model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)

        def encode_texts(tokens: Any) -> Tensor:
            return model.text_projection(model.text_model(**tokens).pooler_output)

        return model, encode_images, encode_texts, int(model.config.text_config.max_position_embeddings)

    def timm_tensors(self, network: Any) -> tuple[Mapping[str, Tensor], Tensor]:
        model = self._network()
        return _to_timm(model.vision_model.state_dict()), model.visual_projection.weight

    def _network(self) -> CLIPModel | CLIPVisionModelWithProjection:
        """Load the network, of which no tensor may be missing: it would be drawn at random."""
        import torch
        import transformers

        self._require_weights()
        transformers.utils.logging.disable_progress_bar()  # which counts tensors
        has_text = self.vision()[1] is not None
        arguments: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "dtype": torch.float32}
        arguments["attn_implementation"] = "sdpa"  # a configuration could name code on the hub
        arguments["ignore_mismatched_sizes"] = True  # they are named below, where transformers would name a report
        # whose result follows from its arguments
        kind: Any = transformers.CLIPModel if has_text else transformers.CLIPVisionModelWithProjection
        model, loading_info = kind.from_pretrained(self.folder, **arguments, output_loading_info=True)
        unused = () if has_text else ("visual_projection.weight",)  # a tower may be saved without it
        for problem in ("missing_keys", "mismatched_keys", "unexpected_keys"):
            names = (str(key[0] if isinstance(key, tuple) else key) for key in loading_info[problem])
            keys = sorted(name for name in names if not name.endswith("position_ids") and name not in unused)
            if keys:
                raise ValueError(
                    f"its weights do not fit its config.json: {problem.replace('_', ' ')} such as {keys[0]}"
                )
        return model  # type: ignore[no-any-return]  # transformers is not typed


class OpenClip(ClipFolder):
    """A CLIP of plain transformers that open_clip saved."""

    described_in = (OPEN_CLIP,)
    weights = ("open_clip_model.safetensors",)

    def vision(self) -> tuple[CLIPVisionConfig, int | None]:
        from transformers import CLIPVisionConfig

        model = self._config()["model_cfg"]
        vision = model["vision_cfg"]
        config = CLIPVisionConfig(
            hidden_act="quick_gelu" if model.get("quick_gelu") else "gelu",
            hidden_size=vision["width"],
            intermediate_size=int(vision["width"] * vision.get("mlp_ratio", 4.0)),
            num_hidden_layers=vision["layers"],
            num_attention_heads=vision["width"] // vision.get("head_width", 64),
            image_size=vision["image_size"],
            patch_size=vision["patch_size"],
        )
        return config, model["embed_dim"]

    def preparation(self) -> dict[str, Any]:
        own = {"mean": MEAN, "std": STD, "interpolation": "bicubic"}
        return own | {key: value for key, value in (self._config().get("preprocess_cfg") or {}).items() if key in own}

    def load(self) -> LoadedClip:
        try:
            import open_clip
        except ModuleNotFoundError as error:
            what = f"the CLIP in {self.folder}, in open_clip's format,"
            raise MissingPackage("open_clip_torch", "clip", what) from error
        self._config()
        model: Any = open_clip.create_model(f"local-dir:{self.folder}", require_pretrained=True)
        return model, model.encode_image, lambda tokens: model.encode_text(tokens.input_ids), model.context_length

    def timm_tensors(self, network: Any) -> tuple[Mapping[str, Tensor], Tensor]:
        from safetensors.torch import load_file
        from timm.models.vision_transformer import checkpoint_filter_fn

        tensors = checkpoint_filter_fn(load_file(self.folder / self.weights[0]), network)
        return tensors, tensors["head.weight"]

    def _config(self) -> dict[str, Any]:
        """Return the configuration; raises ValueError for another network, whose parts may bring code."""
        config: dict[str, Any] = parse_json((self.folder / OPEN_CLIP).read_bytes())
        model = config["model_cfg"]
        for part, known in ((model, _MODEL), (model["vision_cfg"], _VISION), (model["text_cfg"], _TEXT)):
            if other := sorted(set(part) - known):
                raise ValueError(f"its {OPEN_CLIP} names {other[0]}: genrobust reads plain transformers alone")
        self._require_weights()
        return config


def find_clip_folder(folder: Path) -> ClipFolder | None:
    """Return the CLIP in `folder`; None where it holds none.

    Where it is there in both formats, and has weights of open_clip's alone, it is open_clip's.

    Raises:
        UserError: config.json cannot be read.
    """
    of_transformers, of_open_clip = TransformersClip(folder), OpenClip(folder)
    is_open = (folder / OPEN_CLIP).is_file()
    if (config_file := folder / CONFIG).is_file():
        with reading(config_file, ValueError):
            config = parse_json(config_file.read_bytes())
        is_transformers = isinstance(config, dict) and config.get("model_type") in ("clip", TOWER)
        if is_transformers and (of_transformers.has_weights or not (is_open and of_open_clip.has_weights)):
            return of_transformers
    return of_open_clip if is_open else None


def hash_clip(folder: Path) -> str:
    """Return a hash of all that the CLIP in `folder` is read from."""
    return (find_clip_folder(folder) or TransformersClip(folder)).hash()


def _to_timm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of transformers' image tower under the names, and in the shapes, of timm's."""
    import torch

    converted = {
        "cls_token": weights["embeddings.class_embedding"][None, None],
        "pos_embed": weights["embeddings.position_embedding.weight"][None],
        "patch_embed.proj.weight": weights["embeddings.patch_embedding.weight"],
    }
    names = {
        "pre_layrnorm": "norm_pre",
        "post_layernorm": "norm",
        "self_attn.out_proj": "attn.proj",
        "layer_norm": "norm",
        "encoder.layers": "blocks",
    }
    for key, value in weights.items():
        if key.startswith("embeddings.") or any(f".{part}_proj." in key for part in "qkv"):
            continue
        name = key
        for old, new in names.items():
            name = name.replace(old, new)
        converted[name] = value
    for key in [key for key in weights if ".q_proj." in key]:
        block, parameter = key.replace("encoder.layers", "blocks").split(".self_attn.q_proj.")
        converted[f"{block}.attn.qkv.{parameter}"] = torch.cat(
            [weights[key.replace(".q_", f".{part}_")] for part in "qkv"]
        )
    return converted
