"""Prompt templates: the pictogram styles, the 80 of CLIP, the recipe's own, or those of a user's file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from genrobust.core import ClassLabel, LabelSpace, UserError, embedded, parse_json, reading
from genrobust.recipe import PromptConfig

SLOT = "{}"
SINGLE = {"pictograms": "a line icon of a {}", "openai": "a photo of a {}."}  # of each set, for the strategy `single`


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with one ``{}`` for the class, or a full one without; and the style that it names ("" for none)."""

    text: str
    style: str = ""

    def fill(self, name: str) -> str:
        """Return the prompt for the class prompted as `name`, which may hold braces, quotes or percent signs."""
        return self.text.replace(SLOT, name, 1)


@cache
def template_set(name: str) -> tuple[Template, ...]:
    """Return a set that comes with the package: "pictograms", by style, or "openai".

    The second are the 80 templates that CLIP's zero-shot ImageNet classifier averages over (Radford et al. 2021).
    """
    text = (embedded("prompts") / f"{name}.txt").read_text(encoding="utf-8")
    return tuple(Template(*line.split("\t")) for line in text.splitlines())


def class_templates(prompts: PromptConfig, labels: LabelSpace) -> list[tuple[Template, ...]]:
    """Return the templates of each class.

    Raises:
        UserError: They are not usable.
    """
    if prompts.file is not None:
        return read_listed(prompts.file, labels)
    return [templates_of(prompts)] * len(labels)


def class_texts(prompts: PromptConfig, labels: LabelSpace) -> list[list[str]]:
    """Return the prompts of each class, which a CLIP may know it by.

    Raises:
        UserError: They are not usable.
    """
    templates = class_templates(prompts, labels)
    return [[t.fill(c.prompt) for t in of_class] for of_class, c in zip(templates, labels.classes, strict=True)]


def templates_of(config: PromptConfig) -> tuple[Template, ...]:
    """Return the templates that `config` deals out to every class: one for the strategy `single`, all for `diverse`.

    Raises:
        UserError: The set is unknown, the list is empty or repeats a text, or a text has not exactly one ``{}``.
    """
    if isinstance(name := config.templates, str):
        if name not in SINGLE:
            hint = f"; a template of your own stands in a list: [{name!r}]" if SLOT in name else ""
            raise UserError(
                f"prompts.templates: no set {name!r}; there is {' and '.join(SINGLE)}, or give a list{hint}"
            )
        members = template_set(name)
        if config.strategy == "single":
            members = tuple(t for t in members if t.text == SINGLE[name])
        return members
    templates = tuple(Template(text) for text in config.templates)
    check_templates(templates, "prompts.templates")
    if config.strategy == "single" and len(templates) > 1:
        raise UserError(
            f"prompts.strategy single takes one template, and prompts.templates lists {len(templates)}: "
            "keep one, or choose the strategy diverse"
        )
    return templates


def check_templates(templates: tuple[Template, ...], where: str) -> None:
    """Raise UserError, naming `where` they stand: no template, one without exactly one ``{}``, one listed twice."""
    if not templates:
        raise UserError(f"{where} lists no template: give one or more, each a text with {SLOT}")
    for template in templates:
        slots = template.text.count(SLOT)
        if slots != 1:
            raise UserError(f"{where}: {template.text!r} has {slots} slots; it needs exactly one {SLOT}")
    duplicates = [text for text, times in Counter(template.text for template in templates).items() if times > 1]
    if duplicates:
        raise UserError(f"{where}: {duplicates[0]!r} is listed twice; each template counts once")


def read_listed(path: Path, labels: LabelSpace) -> list[tuple[Template, ...]]:
    """Return the templates that the file `path` holds for each class of `labels`, in their order.

    A .json file maps a spelling of a class to a list of full prompts; classes beyond those of `labels` are passed over,
    and a prompt that comes twice counts once. Any other file holds templates with one ``{}``, one a line, for all
    classes; empty lines count for nothing.

    Raises:
        UserError: The file cannot be read, a class has no prompts, two have the same, a template has no slot, or a full
            prompt has one. The message names the file and the class or line.
    """
    is_json = path.suffix.lower() == ".json"
    with reading(f"prompts.file {path}", ValueError):
        text = path.read_text(encoding="utf-8-sig")
        prompts_by_class = parse_json(text) if is_json else None
    if is_json:
        if not isinstance(prompts_by_class, dict):
            kind = type(prompts_by_class).__name__
            raise UserError(f"prompts.file: {path} holds a {kind}; it needs a mapping of class to prompts")
        meanings = Counter(name for class_label in labels.classes for name in class_label.spellings)
        return [_full_prompts(path, prompts_by_class, class_label, meanings) for class_label in labels.classes]
    templates = tuple(Template(line.strip()) for line in text.splitlines() if line.strip())
    check_templates(templates, str(path))
    return [templates] * len(labels)


def _full_prompts(
    path: Path, prompts_by_class: dict[str, Any], class_label: ClassLabel, meanings: Counter[str]
) -> tuple[Template, ...]:
    """The prompts of one class; `meanings` counts the classes that each key may name."""
    keys = [name for name in class_label.spellings if name in prompts_by_class]
    if len(keys) != 1:
        problem = f"one class twice, as {keys[0]!r} and {keys[1]!r}" if keys else "no prompts for it"
        raise UserError(
            f"prompts.file: the class {class_label.name!r} ({class_label.label_name!r} in the data) needs one list of "
            f"prompts, and {path} has {problem}"
        )
    if meanings[keys[0]] > 1:
        raise UserError(f"prompts.file: {path}: {keys[0]!r} names {meanings[keys[0]]} classes: write the id of each")
    prompts = prompts_by_class[keys[0]]
    if not isinstance(prompts, list) or not prompts:
        raise UserError(f"prompts.file: {path}: {keys[0]!r} needs a list of prompts, one or more")
    for prompt in prompts:
        if not isinstance(prompt, str) or not prompt.strip() or SLOT in prompt:
            raise UserError(
                f"prompts.file: {path}: {keys[0]!r} lists {prompt!r}: a full prompt is a text that names the class in "
                f"its own words, without {SLOT}"
            )
    return tuple(Template(prompt) for prompt in dict.fromkeys(prompt.strip() for prompt in prompts))
