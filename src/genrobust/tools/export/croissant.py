"""Croissant metadata (MLCommons, version 1.0) of an export.

Written without mlcroissant, which needs pandas and rdflib for the same JSON; tests read it with mlcroissant.
Source: https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from genrobust.core import hash_file
from genrobust.tools.export.format import Format, Json
from genrobust.tools.export.parts import Content

TYPES = {pa.string(): "sc:Text", pa.int64(): "sc:Integer", pa.int32(): "sc:Integer", pa.float64(): "sc:Float"}
_CONTEXT = Path(__file__).with_name("croissant_context.json")
_CLASSES = {"label": "sc:Integer", "id": "sc:Text", "name": "sc:Text"}


def croissant(content: Content, form: Format, folder: Path, **about: str) -> Json:
    """Describe the export in `folder` as JSON-LD; `about` holds its name, description and license."""
    classes = [
        {"classes/label": label, "classes/id": class_label.label_name, "classes/name": class_label.name}
        for label, class_label in enumerate(content.labels.classes)
    ]
    fields = [_field("classes", name, dtype) for name, dtype in _CLASSES.items()]
    records = [{**_record_set("classes", fields), "key": {"@id": "classes/label"}, "data": classes}]
    distribution: list[Json] = []
    for part in content.parts:
        files, sources = form.croissant(content, part.name, folder)
        distribution += files
        fields = [_field(part.name, n, dtype, source) for n, (dtype, source) in sources.items()]
        records.append(_record_set(part.name, fields))
    return {
        "@context": json.loads(_CONTEXT.read_text(encoding="utf-8")),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        **about,
        "distribution": distribution,
        "recordSet": records,
    }


def file_set(id: str, includes: str, kind: str, **more: Any) -> Json:
    """Describe the files of the media type `kind` that the glob `includes` matches."""
    return {"@type": "cr:FileSet", "@id": id, "name": id, "encodingFormat": kind, "includes": includes, **more}


def file_object(name: str, kind: str, folder: Path) -> Json:
    """Describe the file `name` in `folder`, of the media type `kind`, with its hash."""
    description = {"@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name, "encodingFormat": kind}
    return {**description, "sha256": hash_file(folder / name)}


def source(files: str, extract: dict[str, str], **transform: str) -> Json:
    """Describe what a field is read from: a column or property of the files in the file set `files`."""
    return {"fileSet": {"@id": files}, "extract": extract, **({"transform": transform} if transform else {})}


def croissant_columns(content: Content, files: str) -> dict[str, tuple[str, Json]]:
    """Map each column of `content` to its type and its source in the tables `files`."""
    return {field.name: (TYPES[field.type], source(files, {"column": field.name})) for field in content.schema}


def _record_set(id: str, fields: list[Json]) -> Json:
    return {"@type": "cr:RecordSet", "@id": id, "name": id, "field": fields}


def _field(records: str, name: str, dtype: str, source: Json | None = None) -> Json:
    field: Json = {"@type": "cr:Field", "@id": f"{records}/{name}", "name": name, "dataType": dtype}
    if source is None:
        return field
    return {
        **field,
        "source": source,
        **({"references": {"field": {"@id": "classes/label"}}} if name == "label" else {}),
    }
