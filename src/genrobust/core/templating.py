"""The package's templates; an unknown name in a template is an error, not an empty text."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2


@cache
def templates(*folders: str, **options: Any) -> jinja2.Environment:
    """An environment that reads templates from `folders` of the package, in order; `options` are those of jinja2.

    It keeps what it compiled, which takes longer than to render a report.
    """
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("genrobust", folder) for folder in folders]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
