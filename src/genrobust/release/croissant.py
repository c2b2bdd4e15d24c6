"""Croissant metadata (MLCommons, version 1.0): the files of an export and what is in them, for any program.

Every export has it, so it is written without mlcroissant, which the tests read it with: that package needs twelve more,
pandas and rdflib among them, for the same JSON. Source: https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from genrobust.core import hash_file
from genrobust.release.format import Format, Json
from genrobust.release.parts import Content, Part

TYPES = {pa.string(): "sc:Text", pa.int64(): "sc:Integer", pa.int32(): "sc:Integer", pa.float64(): "sc:Float"}
_SKELETON = Path(__file__).with_name("croissant_1.0.json")  # what every export's has: the context, and the classes


def croissant(content: Content, form: Format, folder: Path, about: dict[str, str]) -> Json:
    """Describe what was written into `folder` as JSON-LD; `about` holds its name, description and license."""
    found: Json = json.loads(_SKELETON.read_text(encoding="utf-8"))
    records, distribution = found.pop("recordSet"), []
    records[0]["data"] = [
        {"classes/label": label, "classes/id": of.id, "classes/name": of.name}
        for label, of in enumerate(content.labels.classes)
    ]
    for part in content.parts:
        files, fields = form.croissant(content, part, folder)
        distribution += files
        records.append({"@type": "cr:RecordSet", "@id": part.name, "name": part.name, "field": fields})
    return {**found, **about, "distribution": distribution, "recordSet": records}


def file_object(place: str, kind: str, folder: Path) -> Json:
    """Describe the file at `place` in `folder`, of the media type `kind`, with its hash."""
    found = {"@type": "cr:FileObject", "@id": place, "name": place, "contentUrl": place, "encodingFormat": kind}
    return {**found, "sha256": hash_file(folder / place)}


def file_set(id: str, includes: str, kind: str) -> Json:
    """Describe the files of the media type `kind` that the glob `includes` matches."""
    return {"@type": "cr:FileSet", "@id": id, "name": id, "encodingFormat": kind, "includes": includes}


def column(name: str) -> Json:
    """Extract the column `name` of a table."""
    return {"extract": {"column": name}}


def field(part: Part, name: str, dtype: str, source: Json, extract: dict[str, Any]) -> Json:
    """Describe the field `name` of the records of `part`, extracted from the file object or file set `source`."""
    kind = {"cr:FileObject": "fileObject", "cr:FileSet": "fileSet"}[source["@type"]]
    where = {kind: {"@id": source["@id"]}, **extract}
    found = {"@type": "cr:Field", "@id": f"{part.name}/{name}", "name": name, "dataType": dtype, "source": where}
    return found | ({"references": {"field": {"@id": "classes/label"}}} if name == "label" else {})
