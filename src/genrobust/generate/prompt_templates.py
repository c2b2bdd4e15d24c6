"""Prompt templates: the sets that come with the package, the recipe's own, or the lines of a user's file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter

from genrobust.core import ClassLabel, LabelSpace, UserError, embedded, parse_json, reading
from genrobust.recipe import PromptConfig

SLOT = "{}"
# The template of each set for the strategy `single`.
SINGLE = {"pictograms": "a line icon of a {}", "openai": "a photo of a {}."}


def _strip_prompt(prompt: str) -> str:
    if not prompt.strip() or SLOT in prompt:
        raise ValueError(f"a full prompt names the class in its own words, without {SLOT}")
    return prompt.strip()


_FullPrompt = Annotated[str, AfterValidator(_strip_prompt)]
# The content of a .json file: one or more prompts of each class.
FULL_PROMPTS = TypeAdapter(dict[str, Annotated[list[_FullPrompt], Field(min_length=1)]])


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with one ``{}`` for the class, or a full prompt; and the style that it names ("" for none)."""

    text: str
    style: str = ""

    def fill(self, name: str) -> str:
        """Return the prompt for the class prompted as `name`, which may hold braces, quotes or percent signs."""
        return self.text.replace(SLOT, name, 1)


@cache
def template_set(name: str) -> tuple[Template, ...]:
    """Read a set of the package: "pictograms", by style, or "openai".

    The latter are the 80 templates of CLIP's zero-shot ImageNet classifier (Radford et al., 2021).
    """
    text = (embedded("prompts") / f"{name}.txt").read_text(encoding="utf-8")
    return tuple(Template(*line.split("\t")) for line in text.splitlines())


def class_templates(prompts: PromptConfig, labels: LabelSpace) -> list[tuple[Template, ...]]:
    """Return the templates of each class."""
    if prompts.file is not None:
        return read_prompt_file(prompts.file, labels)
    return [templates_of(prompts)] * len(labels)


def class_texts(prompts: PromptConfig, labels: LabelSpace) -> list[list[str]]:
    """Return the prompts of each class, by which a CLIP recognizes it."""
    texts = []
    for class_label, templates in zip(labels.classes, class_templates(prompts, labels), strict=True):
        texts.append([template.fill(class_label.prompt) for template in templates])
    return texts


def templates_of(config: PromptConfig) -> tuple[Template, ...]:
    """Return the templates that every class takes: one for the strategy `single`, all for `diverse`."""
    if isinstance(config.templates, str):
        return _templates_of_set(config.templates, config.strategy)
    templates = tuple(Template(text) for text in config.templates)
    check_templates(templates, "prompts.templates")
    if config.strategy == "single" and len(templates) > 1:
        raise UserError(
            f"prompts.strategy single takes one template, and prompts.templates lists {len(templates)}: "
            "keep one, or choose the strategy diverse"
        )
    return templates


def _templates_of_set(name: str, strategy: str) -> tuple[Template, ...]:
    if name not in SINGLE:
        if SLOT in name:
            hint = f"; write a template of your own as a list: [{name!r}]"
        else:
            hint = ""
        raise UserError(f"prompts.templates: no set {name!r}; there is {' and '.join(SINGLE)}, or give a list{hint}")
    templates = template_set(name)
    if strategy == "single":
        return tuple(template for template in templates if template.text == SINGLE[name])
    return templates


def check_templates(templates: tuple[Template, ...], where: str) -> None:
    """Raise UserError if there is no template, one without exactly one ``{}``, or one twice. Names `where` they are."""
    if not templates:
        raise UserError(f"{where} lists no template: give one or more, each a text with {SLOT}")
    for template in templates:
        slots = template.text.count(SLOT)
        if slots != 1:
            raise UserError(f"{where}: {template.text!r} has {slots} slots; it needs exactly one {SLOT}")
    counts = Counter(template.text for template in templates)
    text, count = counts.most_common(1)[0]
    if count > 1:
        raise UserError(f"{where}: {text!r} is listed twice; each template counts once")


def read_prompt_file(path: Path, labels: LabelSpace) -> list[tuple[Template, ...]]:
    """Read the templates of each class of `labels` from a user's file.

    A .json file maps a spelling of a class to a list of full prompts. Classes that are not in `labels` are ignored, and
    repeated prompts count once. Any other file holds a template with one ``{}`` on each line, for all classes; empty
    lines are ignored.
    """
    with reading(f"prompts.file {path}", ValueError):
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            prompts_by_class = FULL_PROMPTS.validate_python(parse_json(text))
            meanings: Counter[str] = Counter()
            for class_label in labels.classes:
                meanings.update(class_label.spellings)
            return [_full_prompts(path, prompts_by_class, class_label, meanings) for class_label in labels.classes]
    templates = tuple(Template(line.strip()) for line in text.splitlines() if line.strip())
    check_templates(templates, str(path))
    return [templates] * len(labels)


def _full_prompts(
    path: Path, prompts_by_class: dict[str, list[str]], class_label: ClassLabel, meanings: Counter[str]
) -> tuple[Template, ...]:
    """Return the prompts of one class; `meanings` counts the classes that each key may name."""
    keys = [name for name in class_label.spellings if name in prompts_by_class]
    if len(keys) != 1:
        if keys:
            problem = f"one class twice, as {keys[0]!r} and {keys[1]!r}"
        else:
            problem = "no prompts for it"
        raise UserError(
            f"prompts.file: the class {class_label.name!r} ({class_label.label_name!r} in the data) needs one list of "
            f"prompts, and {path} has {problem}"
        )
    key = keys[0]
    if meanings[key] > 1:
        raise UserError(f"prompts.file: {path}: {key!r} names {meanings[key]} classes: write the id of each")
    return tuple(Template(prompt) for prompt in dict.fromkeys(prompts_by_class[key]))
