"""Packed copies of images, from which a crop is decoded without the rest: JPEGs with separately readable tiles.

A JPEG is one stream of Huffman codes, so decoding a crop at its bottom takes nearly as long as decoding all of it. With
a restart marker after every `TILE` blocks, the decoder can begin anywhere: the bytes of the tiles under a crop, after a
header with their size, are a JPEG of their own, and any decoder reads the same pixels from it as from the whole.
(Region decoding in libjpeg-turbo has to read all codes before the crop, and no Python package offers it without a
compiler.)

Each image is stored in its original size and in smaller levels, each `STEP` as wide as the one before. A large crop,
which will be shrunk, is read from the smallest level that still has enough pixels.

Only this package knows the format and the files. Training asks `PackedImages` for crops, and the stage that packs asks
`to_pack` how many images are left.
"""

from genrobust.train.packed.packed_images import PACKING, PackedImages, to_pack

__all__ = ["PACKING", "PackedImages", "to_pack"]
