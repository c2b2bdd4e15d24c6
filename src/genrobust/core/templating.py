"""Texts made from the package's templates: an unknown name in one is an error, never an empty place."""

from __future__ import annotations

from typing import Any

import jinja2


def templates(*folders: str, **options: Any) -> jinja2.Environment:
    """Reads the templates in `folders` of the package, in their order; `options` are jinja2's own."""
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("genrobust", folder) for folder in folders]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )


def verbatim(environment: jinja2.Environment, name: str) -> str:
    """The text of a file beside the templates, as it is."""
    assert environment.loader is not None  # it has those of `templates`
    return environment.loader.get_source(environment, name)[0]
