"""A zero-shot CLIP beside the arms: transformers' own logits, made once, and one marked row of the report."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from genrobust.classifiers import open_initial
from genrobust.core import ZERO_SHOT, Subset, UserError
from genrobust.recipe import parse_recipe
from genrobust.study import Study
from genrobust.study.steps.predict import open_predictions

TEMPLATES = ("an icon of a {}", "a {}")
RECIPE = {
    "name": "beside",
    "threads": 1,
    "device": "cpu",
    "seeds": [0, 1],
    "generate": {"prompts": {"templates": list(TEMPLATES)}},
    "train": {
        "architecture": "test_resnet",
        "steps": 2,
        "batch_size": 4,
        "warmup_steps": 0,
        "image_size": 32,
        "precision": "float32",
    },
    "arms": [{"name": "real", "mixture": "real"}],
    "evaluate": {"tests": ["hand-drawn"], "min_images": 50},
    "robustness": {"baselines": None, "bootstrap": 100},
}


@pytest.fixture
def study(clip_folder: Path, tmp_path: Path) -> Callable[..., Study]:
    return lambda **change: Study(parse_recipe({**RECIPE, "zero_shot": {"clip": str(clip_folder)}, **change}), tmp_path)


def test_it_sees_what_an_arm_that_starts_from_it_sees(
    study: Callable[..., Study], clip_folder: Path, tmp_path: Path
) -> None:
    """And another CLIP at its place makes another report."""
    clip = shutil.copytree(clip_folder, tmp_path / "clip")

    def seen() -> tuple[set[str], Path]:
        made = study(zero_shot={"clip": str(clip)})
        (zero_shot,) = made.plan.zero_shot().open_classifiers().values()
        arm = open_initial(f"clip:{clip}", ["cup"], lambda: [["a cup"]]).opened
        told = (re.findall(r"resized \((\w+),", opened.preparation) for opened in (zero_shot, arm))
        return {word for words in told for word in words}, made.report_folder

    interpolation, report = seen()
    path = clip / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "resample": 2}))
    assert (interpolation, seen()[0]) == ({"bicubic"}, {"bilinear"}) and seen()[1] != report


@torch.inference_mode()
def test_its_logits_are_transformers_own(study: Callable[..., Study], clip_folder: Path) -> None:
    made = study()
    (predictions,) = open_predictions([made.plan.zero_shot()])
    found = predictions["hand-drawn"]
    model = CLIPModel.from_pretrained(clip_folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    few = Subset(made.data.tests["hand-drawn"], range(6))
    pixels = CLIPImageProcessor.from_pretrained(clip_folder)(
        [few.image(i).resize((32, 32), 3) for i in range(6)], return_tensors="pt"
    )
    image = model.visual_projection(model.vision_model(**pixels).pooler_output)
    classes = []
    for label in made.data.labels.classes[:5]:
        words = tokenizer([t.replace("{}", label.prompt) for t in TEMPLATES], padding="max_length", return_tensors="pt")
        text = model.text_projection(model.text_model(**words).pooler_output)
        classes.append((text / text.norm(dim=1, keepdim=True)).mean(0))
    cosines = torch.nn.functional.cosine_similarity(image[:, None], torch.stack(classes)[None], dim=-1)
    wanted = (model.logit_scale.exp() * cosines).numpy()
    assert found.logits[:6, :5] == pytest.approx(wanted, abs=0.1), "but for how an icon is made smaller"
    assert found.labels.tolist() == made.data.tests["hand-drawn"].labels.tolist()
    assert not np.array_equal(found.logits[0], found.logits[1])


def test_it_is_a_marked_row_beside_the_arms_and_no_arm(study: Callable[..., Study]) -> None:
    first = study()
    total = sum(len(first.data.tests[name]) for name in first.tests)
    assert [(row.done, row.total) for row in first.rows() if row.name == ZERO_SHOT] == [(0, total)]
    summary, written = first.run()
    assert (summary.arms, summary.trained_elsewhere) == (("real", ZERO_SHOT), (ZERO_SHOT,))
    scores = {key: score.value for key, score in summary.scores.items() if key[:2] == ("top1", ZERO_SHOT)}
    values = {(key.test_set, value) for key, value in scores.items() if key.seed is not None}
    assert len(values) == len({test for test, _ in values}) == 3, "one metric a test set, whatever the seed"
    text = written["report.md"].read_text(encoding="utf-8")
    assert "The study compares no arm with another." in text
    assert f"| {ZERO_SHOT} \N{DOUBLE DAGGER} |" in text
    assert "\N{DOUBLE DAGGER} trained on other data" in text
    page = written["report.html"].read_text(encoding="utf-8")
    assert "1 arm, 2 seeds" in page
    assert page.count("trained on other data") == 2
    assert [(row.done, row.total) for row in study().rows() if row.name == ZERO_SHOT] == [(total, total)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": {**RECIPE["train"], "image_size": 64}}, "sees images of 32 px and the classifiers of 64 px"),
        ({"zero_shot": {"clip": "./none"}}, r"^zero_shot\.clip: none is no CLIP folder"),
        ({"quality": {"clip": "./none"}}, r"^quality\.clip: none is no CLIP folder"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(
    study: Callable[..., Study], tmp_path: Path, change: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        study(**change).run()
    assert not (tmp_path / "checkpoints").exists()


def test_no_arm_takes_its_name() -> None:
    with pytest.raises(UserError, match="is the name of two arms"):
        parse_recipe({**RECIPE, "reference": ZERO_SHOT, "arms": [{"name": ZERO_SHOT, "mixture": "real"}]})
