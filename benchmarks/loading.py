"""Speed of loading: random resized crops to 224 px, mirrored, as bytes, on 2 CPU cores.

    python benchmarks/loading.py    photographs alone, then as many generated images with them

It compares genrobust, from the original images and from packed copies (`data.packed: true`); torchvision's ImageFolder
with torch's DataLoader; webdataset; and FFCV in its JPEG mode, if it is installed. FFCV is in no extra, since it is
compiled from C++: with Debian's libopencv-dev, libturbojpeg0-dev and pkg-config,

    pip install --no-build-isolation ffcv

The photographs are synthetic: overlapping discs with the spectrum of photographs, 500 px at quality 90, and about their
size on disk (45 kB). Generated images are 512 px PNGs in genrobust's shards. A round is one pass over all of them by
each variant, with a warm file cache; what a variant prepares once (tars, .beton, packed copies) is not counted. All
variants give uint8 [128, 3, 224, 224] with labels, with their default resizing: FFCV by areas, torchvision and
webdataset bilinear with antialiasing, genrobust bicubic with antialiasing.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset
from PIL import Image, ImageDraw
from side_by_side import interleaved, rate, table, times_faster, use_cores, where_and_when
from torch.utils.data import ConcatDataset, DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from genrobust.core import ClassLabel, ImageSet, LabelSpace, Sample, cores, progress_bar
from genrobust.data import ShardDataset, begin_dataset, finish_dataset, write_shard
from genrobust.data.listing import ListedImages, list_folder
from genrobust.data.stored_images import class_folders
from genrobust.train import Mixture, Source

SIZES = [(500, 375), (500, 375), (500, 375), (375, 500), (500, 333)]  # width and height, as ImageNet's usual ones
CLASSES = 10
BATCH, SIDE, WORKERS = 128, 224, 2
TARS = 2  # that the photographs are in, for webdataset
OURS, PACKED = "genrobust", "genrobust, packed"
FOLDERS, TARS_OF_OTHERS, FFCV = "torchvision ImageFolder + DataLoader", "webdataset", "FFCV, JPEG mode"
NAMES = (PACKED, OURS, FOLDERS, TARS_OF_OTHERS, *([FFCV] if importlib.util.find_spec("ffcv") else []))


def photograph(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Overlapping discs, under noise whose amplitude falls with the frequency."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) + 1 / max(width, height)

    def noise(power: float) -> np.ndarray:
        phases = rng.standard_normal(frequency.shape) + 1j * rng.standard_normal(frequency.shape)
        values = np.fft.irfft2(phases / frequency**power, (height, width))
        return values / values.std()

    objects = Image.new("L", (width, height))
    draw = ImageDraw.Draw(objects)
    for number in range(1, 60):
        radius = min(0.3 * (rng.pareto(1.5) + 0.15), 1) * min(width, height) / 2
        x, y, stretch = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.5, 2)
        box = (x - radius * stretch, y - radius / stretch, x + radius * stretch, y + radius / stretch)
        draw.ellipse(box, fill=number)
    of = np.asarray(objects)
    colors = rng.uniform(40, 215, (256, 3))
    colors = (colors + colors.mean(axis=1, keepdims=True)) / 2
    shade = noise(1.4) * rng.uniform(12, 30) + noise(0.8) * rng.uniform(0, 5, 256)[of]
    warm, cold = 8 * noise(1.5), 8 * noise(1.5)
    pixels = colors[of] + shade[..., None] + np.stack([warm, -0.3 * (warm + cold), cold], axis=-1)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def name_of(number: int) -> str:
    return f"{number % CLASSES:02d}-{number:06d}"


def draw(folder: Path, number: int) -> np.ndarray:
    """Write one photograph, and one generated image as PNG; returns the pixels of the latter."""
    rng = np.random.default_rng(number)
    of_class = f"c{number % CLASSES:02d}"
    for kind in ("photographs", "pngs"):
        (folder / kind / of_class).mkdir(parents=True, exist_ok=True)
    path = folder / "photographs" / of_class / f"{name_of(number)}.jpg"
    photograph(rng, *SIZES[number % len(SIZES)]).save(path, quality=90)
    generated = photograph(rng, 512, 512)
    generated.save(folder / "pngs" / of_class / f"{name_of(number)}.png")
    return np.asarray(generated)


def make(folder: Path, count: int) -> None:
    """Write `count` photographs as JPEG folders, and as many generated images as shards and as PNG folders."""
    tars = [folder / f"photographs-{index}.tar" for index in range(TARS)]
    if tars[-1].exists():  # what is written last
        return
    samples = []
    with progress_bar("drawing", count) as bar, ProcessPoolExecutor(cores()) as pool:
        for i, generated in enumerate(pool.map(partial(draw, folder), range(count), chunksize=4)):
            samples.append(Sample(name_of(i), i % CLASSES, generated))
            bar.advance()
    begin_dataset(folder / "generated", {"shards": TARS, "class_ids": [f"c{i:02d}" for i in range(CLASSES)]})
    for index, path in enumerate(tars):
        write_shard(folder / "generated", index, samples[index::TARS], [])
        with webdataset.TarWriter(str(path)) as tar:
            for image in sorted((folder / "photographs").rglob("*.jpg"))[index::TARS]:
                tar.write({"__key__": image.stem, "jpg": image.read_bytes(), "cls": int(image.stem[:2])})
    finish_dataset(folder / "generated")


# --------------------------------------------------------------------------------------------- the ways


def photographs(folder: Path, count: int = 0) -> tuple[ImageSet, LabelSpace]:
    """The photographs in `folder`, and their classes; writes `count` photographs first if there are none."""
    make(folder, count)
    classes = [path.name for path in class_folders(folder / "photographs")]
    listing = list_folder(folder / "photographs", classes)
    images = ListedImages("photographs", listing, {name: [label] for label, name in enumerate(classes)})
    return images, LabelSpace(tuple(ClassLabel(name, name, name) for name in classes))


def this_project(folder: Path, mixed: bool, packed: Path | None, batch: int = BATCH) -> Callable[[], Iterator[Any]]:
    parts = [Source("real", photographs(folder)[0])] + (
        [Source("generated", ShardDataset(folder / "generated"))] if mixed else []
    )
    mixture = Mixture(parts, batch, SIDE, crop="random-resized", packed=packed)
    return lambda: (mixture.batch(seed=0, step=step) for step in range(len(mixture) // batch))


def augmentation() -> v2.Transform:
    return v2.Compose([v2.RandomResizedCrop(SIDE), v2.RandomHorizontalFlip(), v2.PILToTensor()])


def torchvision_folders(
    folder: Path, mixed: bool, batch: int = BATCH, workers: int = WORKERS
) -> Callable[[], Iterator[Any]]:
    kinds = ("photographs", "pngs") if mixed else ("photographs",)
    images: ConcatDataset[Any] = ConcatDataset([ImageFolder(str(folder / kind), augmentation()) for kind in kinds])
    loader = DataLoader(images, batch, shuffle=True, num_workers=workers, persistent_workers=True, drop_last=True)
    return lambda: iter(loader)


def webdataset_tars(
    folder: Path, mixed: bool, count: int, batch: int = BATCH, workers: int = WORKERS
) -> Callable[[], Iterator[Any]]:
    tars = [str(path) for path in sorted(folder.glob("photographs-*.tar"))]
    tars += [str(path) for path in sorted((folder / "generated").glob("*.tar"))] if mixed else []
    stream = webdataset.WebDataset(tars, resampled=True, shardshuffle=False, nodesplitter=None).shuffle(500)
    stream = stream.decode("pil").to_tuple("jpg;png", "cls").map_tuple(augmentation(), int).batched(batch)
    stream = stream.with_epoch(max(1, count // batch // workers))  # of batches, for each worker
    loader = webdataset.WebLoader(stream, batch_size=None, num_workers=workers, persistent_workers=True)
    return lambda: iter(loader)


def ffcv_beton(folder: Path, mixed: bool, batch: int = BATCH, workers: int = WORKERS) -> Callable[[], Iterator[Any]]:
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, Squeeze, ToTensor, ToTorchImage
    from ffcv.writer import DatasetWriter

    kinds = ("photographs", "pngs") if mixed else ("photographs",)
    beton = folder / f"{'-'.join(kinds)}.beton"
    if not beton.exists():
        fields = {"image": RGBImageField(write_mode="jpg", jpeg_quality=90), "label": IntField()}
        images: ConcatDataset[Any] = ConcatDataset([ImageFolder(str(folder / kind)) for kind in kinds])
        DatasetWriter(str(beton), fields, num_workers=1).from_indexed_dataset(images)
    cut = [RandomResizedCropRGBImageDecoder((SIDE, SIDE)), RandomHorizontalFlip(), ToTensor(), ToTorchImage()]
    loader = Loader(
        str(beton),
        batch_size=batch,
        num_workers=workers,
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=True,
        pipelines={"image": cut, "label": [IntDecoder(), ToTensor(), Squeeze()]},
    )
    return lambda: iter(loader)


def drain(batches: Callable[[], Iterator[Any]], batch: int = BATCH) -> int:
    """Read all batches; returns the number of images."""
    count = 0
    for images, labels in batches():
        assert tuple(images.shape) == (batch, 3, SIDE, SIDE) and images.dtype == torch.uint8 and len(labels) == batch
        count += batch
    return count


def loaders(
    folder: Path, mixed: bool, count: int, batch: int = BATCH, workers: int = WORKERS, names: Sequence[str] = NAMES
) -> dict[str, Callable[[], Iterator[Any]]]:
    """Functions that begin a pass over the `count` photographs in `folder`, and as many generated images if `mixed`.

    `names` are those of the loaders that are made, with the copies that they read.
    """
    made = {
        PACKED: lambda: this_project(folder, mixed, folder / "packed", batch),
        OURS: lambda: this_project(folder, mixed, None, batch),
        FOLDERS: lambda: torchvision_folders(folder, mixed, batch, workers),
        TARS_OF_OTHERS: lambda: webdataset_tars(folder, mixed, count, batch, workers),
        FFCV: lambda: ffcv_beton(folder, mixed, batch, workers),
    }
    return {name: made[name]() for name in names}


def compared(folder: Path, mixed: bool, count: int, rounds: int) -> str:
    ways = loaders(folder, mixed, count)
    seconds = interleaved({name: partial(drain, way) for name, way in ways.items()}, rounds)
    images = count // BATCH * BATCH
    rows = [[n, rate(images, s), times_faster(seconds[PACKED], s), times_faster(seconds[OURS], s)]
            for n, s in seconds.items()]  # fmt: skip
    return table(["loader", "images/s", f"{PACKED}: times as fast", f"{OURS}: times as fast"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512, help="photographs, and as many generated ones; of 256")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where images are kept for the next time; default: nowhere")
    asked = parser.parse_args()
    use_cores(WORKERS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        make(folder, asked.images)
        for mixed in (False, True):
            count = asked.images * (1 + mixed)
            print(f"\n{'Photographs and generated PNGs, one to one' if mixed else 'Photographs'}:\n")
            print(compared(folder, mixed, count, asked.rounds if not mixed else max(1, asked.rounds // 2)))
    print(f"\nMedian of the rounds (slowest to fastest); {where_and_when()}")


if __name__ == "__main__":
    main()
