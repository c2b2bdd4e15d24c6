"""Prompts from a user's file: templates one a line, or full prompts by class in JSON."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from genrobust.core import ClassLabel, LabelSpace, UserError
from genrobust.generate.templates import SLOT, Template, check_templates


def read_listed(path: Path, labels: LabelSpace) -> list[tuple[Template, ...]]:
    """Return the templates that the file `path` holds for each class of `labels`, in their order.

    A .json file maps a class's id, name or prompt name to a list of full prompts; classes beyond those of `labels` are
    passed over, and a prompt that comes twice counts once. Any other file holds templates with one ``{}``, one a line,
    for all classes; empty lines count for nothing. Raises UserError that names the file and the class or line: a file
    that cannot be read, no prompts for a class, a template without a slot, a full prompt with one.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"prompts.file: cannot read {path}: {error}") from error
    if path.suffix.lower() == ".json":
        try:
            found = json.loads(text)
        except ValueError as error:
            raise UserError(f"prompts.file: {path} is not valid JSON: {error}") from None
        if not isinstance(found, dict):
            kind = type(found).__name__
            raise UserError(f"prompts.file: {path} holds a {kind}; it needs a mapping of class to prompts")
        return [_prompts(path, found, wanted) for wanted in labels.classes]
    templates = tuple(Template(line.strip()) for line in text.splitlines() if line.strip())
    check_templates(templates, str(path))
    return [templates] * len(labels)


def _prompts(path: Path, found: dict[str, Any], wanted: ClassLabel) -> tuple[Template, ...]:
    keys = [key for key in dict.fromkeys((wanted.id, wanted.name, wanted.prompt)) if key in found]
    if not keys:
        near = difflib.get_close_matches(wanted.name, found, n=3)
        hint = f" (perhaps {' or '.join(near)}?)" if near else ""
        raise UserError(f"prompts.file: {path} has no prompts for the class {wanted.name!r} (id {wanted.id!r}){hint}")
    if len(keys) > 1:
        raise UserError(f"prompts.file: {path} has the class {wanted.id!r} twice, as {keys[0]!r} and {keys[1]!r}")
    prompts = found[keys[0]]
    if not isinstance(prompts, list) or not prompts:
        raise UserError(f"prompts.file: {path}: {keys[0]!r} needs a list of prompts, one or more")
    for prompt in prompts:
        if not isinstance(prompt, str) or not prompt.strip():
            raise UserError(f"prompts.file: {path}: {keys[0]!r} lists {prompt!r}, which is no prompt")
        if SLOT in prompt:
            raise UserError(
                f"prompts.file: {path}: {keys[0]!r} lists {prompt!r}, with a slot: full prompts name the class in "
                "their own words, and templates stand in a text file, one a line"
            )
    return tuple(Template(prompt) for prompt in dict.fromkeys(prompt.strip() for prompt in prompts))
