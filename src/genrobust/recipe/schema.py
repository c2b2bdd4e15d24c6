"""The JSON Schema of recipe files, by which editors check and complete them."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from genrobust.recipe.recipe import Recipe
from genrobust.recipe.sweep import SweepConfig


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of recipe files, with the keys of the installed plug-ins.

    It takes whatever `parse_recipe` takes. It refuses unknown keys, values of another type or out of range and keys of
    another engine, mode or reader, not what only several keys together, or files, show to be wrong; and the templates
    of a sweep may hold any keys and values.
    """
    schema, sweep = Recipe.model_json_schema(), TypeAdapter(list[SweepConfig | None] | None).json_schema()
    schema["required"].remove("arms")
    schema["$defs"] |= sweep.pop("$defs")
    schema["properties"] |= {"quick": {"type": ["object", "null"]}, "sweep": sweep}
    arms_unless_swept = {"if": {"properties": {"sweep": {"type": "null"}}}, "then": {"required": ["arms"]}}
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, **arms_unless_swept}
