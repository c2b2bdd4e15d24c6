"""Marks PNG images as generated, in the metadata that IPTC defines for it (XMP)."""

from __future__ import annotations

import struct
import zlib

# IPTC's word for media that a trained model made.
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    f'Iptc4xmpExt:DigitalSourceType="{GENERATED}"/></rdf:RDF></x:xmpmeta>'
)
# Keyword, then no compression, no language and no translated keyword (PNG specification, 11.3.3.4).
_TEXT = b"XML:com.adobe.xmp" + bytes(5) + XMP.encode()
_CHUNK = struct.pack(">I", len(_TEXT)) + b"iTXt" + _TEXT + struct.pack(">I", zlib.crc32(b"iTXt" + _TEXT))
_HEADER = 33  # bytes of a PNG's signature and first chunk


def mark_as_generated(png: bytes) -> bytes:
    """Return `png` with the mark, and the same pixels."""
    return png[:_HEADER] + _CHUNK + png[_HEADER:]
