"""Prompt templates: the pictogram styles, the 80 of CLIP, or the user's own."""

from __future__ import annotations

from dataclasses import dataclass

from genrobust.core import UserError, embedded
from genrobust.recipe import PromptConfig

SLOT = "{}"


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with one ``{}`` for the class, or a full one without; and the style that it names ("" for none)."""

    text: str
    style: str = ""

    def fill(self, name: str) -> str:
        """The prompt for the class prompted as `name`, which may itself hold braces, quotes or percent signs."""
        return self.text.replace(SLOT, name, 1)


# The embedded generator is trained on captions made from exactly these: a changed word is one it has never seen.
PICTOGRAMS: tuple[Template, ...] = (
    Template("a line icon of a {}", "outline"),
    Template("an outline pictogram of a {}", "outline"),
    Template("a thin line drawing of a {}", "outline"),
    Template("a stroke icon of a {}", "outline"),
    Template("a solid black glyph of a {}", "solid"),
    Template("a filled icon of a {}", "solid"),
    Template("a solid pictogram of a {}", "solid"),
    Template("a black silhouette of a {}", "solid"),
    Template("a duotone icon of a {}", "duotone"),
    Template("a two-tone icon of a {}", "duotone"),
    Template("a duotone pictogram of a {}", "duotone"),
    Template("an icon of a {} in two tones", "duotone"),
    Template("an emoji of a {}", "emoji"),
    Template("a {} emoji", "emoji"),
    Template("a colourful emoji showing a {}", "emoji"),
    Template("a shaded emoji picture of a {}", "emoji"),
    Template("a flat colour illustration of a {}", "illustration"),
    Template("a flat colour icon of a {}", "illustration"),
    Template("a colourful illustration of a {}", "illustration"),
    Template("a clip-art picture of a {}", "illustration"),
    Template("a hand-drawn sketch of a {}", "hand-drawn"),
    Template("a hand-drawn {}", "hand-drawn"),
    Template("a doodle of a {}", "hand-drawn"),
    Template("a rough pen sketch of a {}", "hand-drawn"),
    Template("a pixel-art {}", "pixel"),
    Template("pixel art of a {}", "pixel"),
    Template("an 8-bit sprite of a {}", "pixel"),
    Template("a pixelated icon of a {}", "pixel"),
)


def templates_of(config: PromptConfig) -> tuple[Template, ...]:
    """Return the templates that `config` deals out to every class: one for the strategy `single`, all for `diverse`.

    Raises UserError for an unknown set, an empty or repeating list, and a text without exactly one ``{}``.
    """
    if isinstance(config.templates, str):
        return _named(config.templates, config.strategy)
    templates = tuple(Template(text) for text in config.templates)
    check_templates(templates, "prompts.templates")
    if config.strategy == "single" and len(templates) > 1:
        raise UserError(
            f"prompts.strategy single takes one template, and prompts.templates lists {len(templates)}: "
            "keep one, or choose the strategy diverse"
        )
    return templates


def _named(name: str, strategy: str) -> tuple[Template, ...]:
    if name == "pictograms":
        return PICTOGRAMS[:1] if strategy == "single" else PICTOGRAMS
    if name == "openai":
        return (Template("a photo of a {}."),) if strategy == "single" else _openai()
    hint = f"; a template of your own stands in a list: [{name!r}]" if SLOT in name else ""
    raise UserError(f"prompts.templates: no set {name!r}; there is pictograms and openai, or give a list{hint}")


def _openai() -> tuple[Template, ...]:
    """The 80 templates that CLIP's zero-shot ImageNet classifier averages over (Radford et al. 2021)."""
    text = (embedded("prompts") / "openai.txt").read_text(encoding="utf-8")
    return tuple(Template(line) for line in text.splitlines())


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
