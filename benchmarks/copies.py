"""The search for near copies: planted copies that it finds, other images that it takes for copies, and its speed.

    python benchmarks/copies.py                          icons of Pictograms
    python benchmarks/copies.py DIR [DIR ...]            folders of images, each with class folders

Copies of `--planted` images, drawn by `--seed`, are planted by each change in turn, and searched among all images of
the folder. Found means that the original itself is named. False matches are the images of a folder for which the search
names an image of another folder. Speed is in images that are read and compared, per second of CPU time of one core.

The peer is a difference hash (dHash, Krawetz 2013) of 64 bits: an image is a copy if at most 10 bits differ from the
nearest image, or from its mirror image, as is usual. It is read like the thumbnails.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from side_by_side import table, where_and_when

from genrobust.core import ImageSet, Subset, cores
from genrobust.data.listing import ListedImages, list_folder
from genrobust.data.readers.pictograms import load_pictograms
from genrobust.leaks import find_near_copies, thumbnail, thumbnails
from genrobust.store import no_progress

BITS = 10  # of 64, by which the hashes of copies differ at most
Change = Callable[[Image.Image], Image.Image]
Find = Callable[[np.ndarray, np.ndarray], np.ndarray]


def saved(image: Image.Image, quality: int) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(io.BytesIO(data.getvalue())).convert("RGB")


def resized(image: Image.Image, across: float, down: float) -> Image.Image:
    return image.resize((round(image.width * across), round(image.height * down)), Image.Resampling.BICUBIC)


def cropped(image: Image.Image, left: float, top: float) -> Image.Image:
    """Crop to 90 %; of what is cut off, the share `left` is on the left, and `top` at the top."""
    width, height = round(0.9 * image.width), round(0.9 * image.height)
    x, y = round((image.width - width) * left), round((image.height - height) * top)
    return image.crop((x, y, x + width, y + height))


def moved(image: Image.Image, across: float, down: float) -> Image.Image:
    """Move by shares of the picture, with the edge drawn out."""
    x, y = round(across * image.width), round(down * image.height)
    pad = ((max(y, 0), max(-y, 0)), (max(x, 0), max(-x, 0)), (0, 0))
    pixels = np.pad(np.asarray(image), pad, mode="edge")
    top, left = max(-y, 0), max(-x, 0)
    return Image.fromarray(pixels[top : top + image.height, left : left + image.width])


def painted_over(image: Image.Image, pixels: int) -> Image.Image:
    """Paint a black border over the picture."""
    return ImageOps.expand(ImageOps.crop(image, pixels), pixels, "black")


CHANGES: dict[str, Change] = {
    "resized to 50 %": lambda image: resized(image, 0.5, 0.5),
    "resized to 170 %": lambda image: resized(image, 1.7, 1.7),
    "squeezed to 80 %": lambda image: resized(image, 0.8, 1),
    "mirrored": ImageOps.mirror,
    "JPEG, quality 40": lambda image: saved(image, 40),
    "cropped to 90 %, center": lambda image: cropped(image, 0.5, 0.5),
    "cropped to 90 %, corner": lambda image: cropped(image, 0, 0),
    "moved by 4 of 64 px, both ways": lambda image: moved(image, 1 / 16, -1 / 16),
    "moved by 4 of 64 px": lambda image: moved(image, 1 / 16, 0),
    "white border of 8 px": lambda image: ImageOps.expand(image, 8, "white"),
    "black border of 8 px": lambda image: ImageOps.expand(image, 8, "black"),
    "black border of 8 of 64 px": lambda image: ImageOps.expand(image, round(image.width / 8), "black"),
    "black border of 8 px, painted over": lambda image: painted_over(image, 8),
    "shrunk to 48 of 64 px in a black border": lambda image: ImageOps.expand(
        resized(image, 0.75, 0.75), round(image.width / 8), "black"
    ),
    "brightness x1.15": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "brightness x0.87": lambda image: ImageEnhance.Brightness(image).enhance(0.87),
    "contrast x1.2": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "contrast x0.8": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "gray": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "mirrored, cropped, JPEG": lambda image: saved(cropped(ImageOps.mirror(image), 0.5, 0.5), 60),
}


def open_folder(folder: Path) -> ImageSet:
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    labels = {name: (number,) for number, name in enumerate(classes)}
    return ListedImages(folder.name, list_folder(folder, classes), labels, by_name=True)


def difference_hash(image: Image.Image) -> np.ndarray:
    """Hash the signs of the horizontal slopes of a picture of 9 x 8 pixels: bool [64]."""
    small = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.LANCZOS), dtype=np.int16)
    return (small[:, 1:] > small[:, :-1]).ravel()


def find_by_hash(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the place of the nearest hash in `others`, -1 if more than BITS differ: int64 [N]."""
    found = []
    # Mirroring reverses the order of the columns and the sign of the slopes.
    mirrored = ~others.reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, 64)
    signs = [torch.from_numpy(np.where(bits, 1.0, -1.0).astype(np.float32)) for bits in (own, others, mirrored)]
    for block in signs[0].split(1024):
        alike = torch.maximum(block @ signs[1].T, block @ signs[2].T)
        most, place = alike.max(1)
        found.append(torch.where((64 - most) / 2 <= BITS, place, -1))
    return torch.cat(found).numpy()


def hashes(images: ImageSet) -> np.ndarray:
    with ThreadPoolExecutor(cores()) as pool:
        return np.stack([*pool.map(lambda place: difference_hash(images.reduced(place, 9)), range(len(images)))])


def seconds_per_image(images: ImageSet, work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) / len(images)


def report(sets: Sequence[tuple[str, ImageSet]], planted: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    own = {name: thumbnails(images, no_progress)[0] for name, images in sets}
    own_hashes = {name: hashes(images) for name, images in sets}
    rows = []
    chosen = {name: np.sort(rng.permutation(len(images))[:planted]) for name, images in sets}
    originals = {name: [images.image(int(place)) for place in chosen[name]] for name, images in sets}
    for change, make in CHANGES.items():
        row = [change]
        for name, _ in sets:
            copies = [make(image) for image in originals[name]]
            found = find_near_copies(np.stack([thumbnail(copy) for copy in copies]), own[name])
            by_hash = find_by_hash(np.stack([difference_hash(copy) for copy in copies]), own_hashes[name])
            counts = [int((places == chosen[name]).sum()) for places in (found, by_hash)]
            row.append(f"{counts[0]} ({counts[1]})")
        rows.append(row)
    heads = [f"{name}, of {len(chosen[name])}" for name, _ in sets]
    print("Planted copies that lead to their originals (by dHash):\n")
    print(table(["change", *heads], rows))
    print("\nImages for which an image of another set is named (by dHash):\n")
    false = []
    for name, images in sets:
        for other, _ in sets:
            if other != name:
                counts = [int((find(mine[name], mine[other]) >= 0).sum()) for find, mine in _searches(own, own_hashes)]
                false.append([name, other, f"{counts[0]} ({counts[1]}) of {len(images):,}"])
    print(table(["images of", "searched in", "named"], false))


def _searches(
    own: dict[str, np.ndarray], own_hashes: dict[str, np.ndarray]
) -> list[tuple[Find, dict[str, np.ndarray]]]:
    return [(find_near_copies, own), (find_by_hash, own_hashes)]


def report_speed(sets: Sequence[tuple[str, ImageSet]]) -> None:
    """Search each half of a set in the other half, from reading the images on."""
    rows = []
    for name, images in sets:
        first, second = Subset(images, range(0, len(images), 2)), Subset(images, range(1, len(images), 2))

        def search(first: ImageSet = first, second: ImageSet = second) -> None:
            find_near_copies(thumbnails(first, no_progress)[0], thumbnails(second, no_progress)[0])

        def search_hashes(first: ImageSet = first, second: ImageSet = second) -> None:
            find_by_hash(hashes(first), hashes(second))

        search()
        seconds = [seconds_per_image(images, work) for work in (search, search_hashes)]
        rows.append([name, f"{len(images):,}", *(f"{1 / each:,.0f}" for each in seconds)])
    print("\nImages per second and core, reading included:\n")
    print(table(["set", "images", "near copies", "dHash"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--planted", type=int, default=100, help="images of each folder that are copied")
    parser.add_argument("--seed", type=int, default=1, help="draws the images that are copied")
    given = parser.parse_args()
    sets = [(folder.name, open_folder(folder)) for folder in given.folders]
    if not sets:
        data = load_pictograms()
        assert data.retrieval is not None
        tests = [(name, data.tests[name]) for name in ("outline-v2", "solid", "emoji")]
        sets = [("train", data.train), ("wild", data.retrieval), *tests]
    report(sets, given.planted, given.seed)
    report_speed(sets)
    print(f"\n{where_and_when()}")


if __name__ == "__main__":
    main()
