"""Describes an exported dataset in Croissant 1.0 (MLCommons), which search engines and data loaders read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

FILE = "croissant.json"
_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet", "format"),
    *("includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
# The standard prescribes this.
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}


def write_croissant(folder: Path, license: str, description: str) -> None:
    """Describe the tables and images that an export in `folder` holds, in its file `FILE`.

    Each column of the tables is a field. Images are the column ``image``, or files. A format of a plug-in may write no
    table: then there is no file.
    """
    table = next(folder.rglob("*.parquet"), None)
    if table is None:
        return
    fields = [_column(field) for field in pq.read_schema(table)]
    files = [_file_set("tables", "application/x-parquet", "*.parquet")]
    records = [{"@type": "cr:RecordSet", "@id": "images", "field": fields}]
    if any(folder.rglob("*.png")):
        files.append(_file_set("files", "image/png", "*.png"))
        content = _field("files-of-images/content", "sc:ImageObject", "files", {"fileProperty": "content"})
        path = _field("files-of-images/path", "sc:Text", "files", {"fileProperty": "fullpath"})
        records.append({"@type": "cr:RecordSet", "@id": "files-of-images", "field": [content, path]})
    about = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": folder.name,
        "description": description,
        "license": license,
        "distribution": files,
        "recordSet": records,
    }
    (folder / FILE).write_text(json.dumps(about, indent=2, ensure_ascii=False), encoding="utf-8")


def _file_set(name: str, encoding: str, pattern: str) -> dict[str, Any]:
    return {"@type": "cr:FileSet", "@id": name, "name": name, "encodingFormat": encoding, "includes": pattern}


def _column(column: pa.Field) -> dict[str, Any]:
    """Describe a column of the tables."""
    name = f"images/{column.name}"
    extract = {"column": column.name}
    if pa.types.is_struct(column.type):
        # An image as Hugging Face datasets stores it: its bytes and its path.
        return _field(name, "sc:ImageObject", "tables", extract, transform={"jsonPath": "bytes"})
    if pa.types.is_integer(column.type):
        return _field(name, "sc:Integer", "tables", extract)
    if pa.types.is_floating(column.type):
        return _field(name, "sc:Float", "tables", extract)
    return _field(name, "sc:Text", "tables", extract)


def _field(name: str, data_type: str, files: str, extract: dict[str, str], **more: Any) -> dict[str, Any]:
    source = {"fileSet": {"@id": files}, "extract": extract, **more}
    return {"@type": "cr:Field", "@id": name, "dataType": data_type, "source": source}
