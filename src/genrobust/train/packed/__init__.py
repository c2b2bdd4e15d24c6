"""Copies of images from which a crop is decoded without the rest: JPEGs whose tiles can be read one by one.

A JPEG is one stream of Huffman codes, so a crop at its bottom costs the decoding of nearly all of it. With a restart
marker after every `TILE` blocks the decoder can begin anywhere: the bytes of the tiles under a crop, behind a header of
their size, are a JPEG of their own, which any decoder reads to the same pixels as the whole. (A decoder of regions such
as libjpeg-turbo's has to read all codes before the crop, and comes in no Python package that needs no compiler.)

Beside the image in its own size lie smaller ones, each `STEP` as wide as the one before: a large crop, which is to be
shrunk in any case, is read from the smallest in which no pixel of it has to be invented.

Only this package knows the format and the files. Trainings ask `PackedImages` for crops, and stages `to_pack` for what
is left to be packed.
"""

from genrobust.train.packed.copies import PACKING, PackedImages, to_pack

__all__ = ["PACKING", "PackedImages", "to_pack"]
