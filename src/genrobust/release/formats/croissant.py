"""Croissant metadata (MLCommons, version 1.0): what an export's files are, and what is in them, for any program.

Source: https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from genrobust.core import hash_file
from genrobust.release.formats.imagefolder import METADATA
from genrobust.release.parts import DATA, Described, Part

_CONFORMS = "http://mlcommons.org/croissant/1.0"
_TYPES = {pa.string(): "sc:Text", pa.int64(): "sc:Integer", pa.int32(): "sc:Integer", pa.float64(): "sc:Float"}
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(described: Described, form: str, folder: Path, about: dict[str, str]) -> dict[str, Any]:
    """The metadata of what was written into `folder` in the form `form`, as JSON-LD.

    `about` holds the dataset's name, description and license.
    """
    distribution: list[dict[str, Any]] = []
    records = [_classes(described)]
    for part in described.parts:
        files, fields = _FORMS[form](described, part, folder)
        distribution += files
        records.append({"@type": "cr:RecordSet", "@id": part.name, "name": part.name, "field": fields})
    kind = {"@context": _CONTEXT, "@type": "sc:Dataset", "conformsTo": _CONFORMS}
    return {**kind, **about, "distribution": distribution, "recordSet": records}


def _classes(described: Described) -> dict[str, Any]:
    labels = described.labels
    columns = {"label": "sc:Integer", "id": "sc:Text", "name": "sc:Text"}
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "key": {"@id": "classes/label"},
        "field": [
            {"@type": "cr:Field", "@id": f"classes/{name}", "name": name, "dataType": dtype}
            for name, dtype in columns.items()
        ],
        "data": [
            {"classes/label": label, "classes/id": of.id, "classes/name": of.name}
            for label, of in enumerate(labels.classes)
        ],
    }


def _parquet(described: Described, part: Part, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    files = _file_set(f"{part.name}-files", f"{DATA}/{part.name}-*.parquet", "application/x-parquet")
    source = {"fileSet": {"@id": files["@id"]}}
    fields = [_field(part, f.name, _TYPES[f.type], {**source, **_column(f.name)}) for f in described.schema]
    image = {**source, **_column("image"), "transform": {"jsonPath": "bytes"}}
    return [files], [_field(part, "image", "sc:ImageObject", image), *fields]


def _imagefolder(described: Described, part: Part, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    place = f"{part.name}/{METADATA}"
    table = _file_object(place, "application/jsonlines", folder)
    images = _file_set(f"{part.name}-images", f"{part.name}/*/*.png", "image/png")
    columns = {"file_name": "sc:Text"} | {f.name: _TYPES[f.type] for f in described.schema}
    source = {"fileObject": {"@id": place}}
    return [table, images], [_field(part, n, dtype, {**source, **_column(n)}) for n, dtype in columns.items()]


def _webdataset(described: Described, part: Part, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    places = sorted(path.relative_to(folder).as_posix() for path in (folder / DATA).glob(f"{part.name}-*.tar"))
    tars = [_file_object(place, "application/x-tar", folder) for place in places]
    images = _file_set(f"{part.name}-images", "*.png", "image/png")
    images["containedIn"] = [{"@id": place} for place in places]
    source = {"fileSet": {"@id": images["@id"]}}
    name = {**source, "extract": {"fileProperty": "filename"}, "transform": {"regex": r"^(.*)\.png$"}}
    content = {**source, "extract": {"fileProperty": "content"}}
    return [*tars, images], [_field(part, "key", "sc:Text", name), _field(part, "image", "sc:ImageObject", content)]


_FORMS = {"parquet": _parquet, "imagefolder": _imagefolder, "webdataset": _webdataset}


def _file_object(place: str, kind: str, folder: Path) -> dict[str, Any]:
    found = {"@type": "cr:FileObject", "@id": place, "name": place, "contentUrl": place, "encodingFormat": kind}
    return {**found, "sha256": hash_file(folder / place)}


def _file_set(id: str, includes: str, kind: str) -> dict[str, Any]:
    return {"@type": "cr:FileSet", "@id": id, "name": id, "encodingFormat": kind, "includes": includes}


def _column(name: str) -> dict[str, Any]:
    return {"extract": {"column": name}}


def _field(part: Part, name: str, dtype: str, source: dict[str, Any]) -> dict[str, Any]:
    found = {"@type": "cr:Field", "@id": f"{part.name}/{name}", "name": name, "dataType": dtype, "source": source}
    return found | ({"references": {"field": {"@id": "classes/label"}}} if name == "label" else {})
