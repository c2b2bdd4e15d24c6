"""The sections of a recipe about generating: what does not go together is refused by name."""

import re

import pytest
import yaml

from genrobust.core import UserError
from genrobust.recipe import GeneratorConfig, count_dropped, parse_recipe


def parse(**sections):
    return parse_recipe({"name": "x", "arms": [{"name": "real", "mixture": "real"}], **sections})


def section(**generator):
    return parse(generator=generator).generator


@pytest.mark.parametrize("mode", ["labels", "images", "labels+images", "class"])
def test_a_section_written_out_with_its_defaults_is_read_back(mode):
    config = section(mode=mode)
    assert GeneratorConfig(**yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


def test_a_lora_is_a_text_or_a_section():
    assert section(lora="a/b").lora == section(lora={"model": "a/b", "scale": 1.0}).lora
    assert section(lora={"model": "a/b", "scale": 0.5}).lora.scale == 0.5


UNUSED = [  # a mode, a key of others, and one of these
    ("mode labels", "strength", 0.5, "mode labels+images"),
    ("mode images", "lora", "x.safetensors", "mode labels"),
    ("mode class", "width", 64, "mode images"),
    ("mode labels", "server", {"url": "http://a"}, "engine openai"),
    ("engine openai", "scheduler", "ddim", "mode labels"),
]
LISTED = {"strategy": "list", "file": "x.txt", "templates": "openai"}
MISTAKES = [  # section, its values, what the error names
    *(
        ("generator", {**dict([mine.split()]), key: value}, rf"generator\.{key}: .*{re.escape(owner)}.* not to {mine}$")
        for mine, key, value, owner in UNUSED
    ),
    ("generator", {"mode": "text"}, "generator.mode: the engine diffusers draws in .*labels.images"),
    ("generator", {"engine": "opena"}, "generator.engine: no engine 'opena' .perhaps openai"),
    ("generator", {"mode": "labels+images", "strength": 0}, "generator.strength: input should be greater than 0"),
    ("generator", {"mode": "labels+images", "strength": 1.5}, "generator.strength: input should be less than or equal"),
    ("generator", {"mode": "labels+images", "strength": 0.2, "steps": 4}, "strength 0.2 of 4 steps leaves no step"),
    ("generator", {"lora": {"path": "x"}}, "unknown key generator.lora.path; known here: model, revision, scale"),
    ("generate", {"prompts": {"strategy": "list"}}, "generate.prompts: strategy list needs the key file"),
    ("generate", {"prompts": {"file": "x"}}, "generate.prompts: strategy diverse does not use the key file"),
    ("generate", {"prompts": LISTED}, "generate.prompts: strategy list does not use the key templates"),
    ("finetune", {"steps": 0}, "finetune.steps: input should be greater than or equal to 1"),
    ("finetune", {"steps": 5, "warmup_steps": 5}, "finetune: .*lower it, or raise steps"),
    ("class_model", {"steps": 5, "warmup_steps": 5}, "class_model: .*lower it, or raise steps"),
    ("class_model", {"channels": [32, 48]}, "class_model: 48 channels are no multiple of 32"),
    ("class_model", {"channels": [32]}, "class_model.channels"),
    *(
        ("datasets", {"clean": {"filter": values}}, rf"datasets\.clean\.filter: .*{named}")
        for values, named in [
            ({"by": "list"}, "key file"),
            ({"file": "x.json", "drop": 0.1}, "by: list"),
            ({"by": "list", "file": "x.json", "drop": 0.1}, "drop"),
            ({"by": "list", "file": "x.json", "threshold": 0.1}, "threshold"),
            ({"by": "list", "file": "x.json", "clip": "pictograms"}, "key clip"),
        ]
    ),
]


@pytest.mark.parametrize(("section", "values", "message"), MISTAKES)
def test_what_does_not_go_together_or_is_out_of_range_is_refused_by_name(section, values, message):
    with pytest.raises(UserError, match=message):
        parse(**{section: values})


FOLDERS = {"source": "folders", "train": "a", "test": "b"}


@pytest.mark.parametrize(
    ("sections", "templates"),
    [
        ({}, "pictograms"),
        ({"data": FOLDERS}, "openai"),
        ({"data": FOLDERS, "generator": {"model": "a/b"}}, "openai"),
        ({"data": FOLDERS, "generator": None}, "openai"),
        ({"data": FOLDERS, "generate": {"prompts": {"templates": ["a {}"]}}}, ("a {}",)),
        ({"data": FOLDERS, "generator": {"model": "a/b"}, "generate": {"per_class": 3}}, "openai"),
    ],
)
def test_only_icons_have_the_prompts_of_icons_where_none_are_named(sections, templates):
    assert parse(**sections).generate.prompts.templates == templates


def test_a_dataset_of_listed_prompts_leaves_out_the_templates_of_the_others():
    listed = {"listed": {"generate": {"prompts": {"strategy": "list", "file": "x.txt"}}}}
    prompts = parse(generate={"prompts": {"templates": "openai"}}, datasets=listed).generation("listed")[1].prompts
    assert (prompts.strategy, prompts.templates) == ("list", "pictograms")


def test_a_dataset_of_templates_leaves_out_the_file_of_the_others():
    listed = {"prompts": {"strategy": "list", "file": "x.txt", "negative_prompt": "a blur"}}
    datasets = {"one": {"generate": {"prompts": {"strategy": "single"}}}}
    prompts = parse(data=FOLDERS, generate=listed, datasets=datasets).generation("one")[1].prompts
    assert prompts.model_dump() == {
        "strategy": "single", "templates": "openai", "file": None, "negative_prompt": "a blur"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"drop": 0.3}, "the lowest 30 % of each class, by the classifier of the arm real"),
        (
            {"by": "clip", "clip": "pictograms", "threshold": 0.25},
            "images that score below 0.25, by the CLIP pictograms",
        ),
        ({"by": "list", "file": "a/review.json"}, "the images that review.json rejects"),
    ],
)
def test_a_filter_says_what_it_leaves_out(rule, words):
    assert parse(datasets={"few": {"filter": rule}}).filter_of("few").in_words() == words


@pytest.mark.parametrize(
    ("share", "images", "dropped"), [(0.29, 100, 29), (0.3, 10, 3), (0.5, 3, 1), (0.99, 100, 99), (0.3, 3, 0)]
)
def test_a_filter_drops_the_share_rounded_down(share, images, dropped):
    assert count_dropped(share, images) == dropped


def test_inputs_and_kinds_of_prompts_follow_from_the_mode():
    reads = {mode: section(mode=mode) for mode in ("labels", "images", "labels+images", "class")}
    assert [mode for mode, config in reads.items() if config.reads_text] == ["labels", "labels+images"]
    assert [mode for mode, config in reads.items() if config.reads_images] == ["images", "labels+images"]
    instructed = parse(generator={"mode": "edit"}, generate={"prompts": {"templates": ["turn this {} into a sketch"]}})
    assert instructed.generator.reads_instructions
    assert instructed.class_prompts.templates == "pictograms" != instructed.generate.prompts.templates
