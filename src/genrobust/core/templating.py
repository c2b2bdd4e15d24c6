"""The templates of the package. An unknown name in a template is an error."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2


@cache
def templates(folder: str, **options: Any) -> jinja2.Environment:
    """Return an environment that reads templates from a `folder` of the package, with `options` of jinja2.

    Other templates are named by their path in the package, such as ``tools/audit/audit.html.j2``. The environment is
    cached, because compiling a template takes longer than rendering a report.
    """
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("genrobust", place) for place in (folder, ".")]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
