"""Prompt templates: the pictogram styles, the 80 of CLIP, or the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from genrobust.core import UserError, embedded
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


def templates_of(config: PromptConfig) -> tuple[Template, ...]:
    """Return the templates that `config` deals out to every class: one for the strategy `single`, all for `diverse`.

    Raises UserError for an unknown set, an empty or repeating list, and a text without exactly one ``{}``.
    """
    if isinstance(name := config.templates, str):
        if name not in SINGLE:
            hint = f"; a template of your own stands in a list: [{name!r}]" if SLOT in name else ""
            raise UserError(
                f"prompts.templates: no set {name!r}; there is {' and '.join(SINGLE)}, or give a list{hint}"
            )
        named = template_set(name)
        return tuple(t for t in named if t.text == SINGLE[name]) if config.strategy == "single" else named
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
    texts = [template.text for template in templates]
    twice = sorted({text for text in texts if texts.count(text) > 1})
    if twice:
        raise UserError(f"{where}: {twice[0]!r} is listed twice; each template counts once")
