"""A small generated dataset of real icons whose classes have awkward names."""

import numpy as np

from genrobust.core import Sample, slug
from genrobust.data import begin_dataset, finish_dataset, write_shard

# Not in the order of their folders' names; "train" is what Hugging Face takes for a part; the last is hostile.
IDS = ("train", "n01440764", "Ice Cream/Ü", "ice-cream", "猫 {0..9} | <b>*`x`")
PER_CLASS = 8
GIVEN_UP = {"key": "train-000099", "label": 0, "blank": True, "redraws": 2, "reason": "blank after 2 redraws"}
MADE = {"generator": "pictograms", "mode": "labels", "steps": 15}


def sample(icons, label, number):
    """Icon `number` of a class, as if it had been generated."""
    of_class = np.flatnonzero(icons.train.labels == label)
    template = ("an emoji of a {}", "a line icon of a {}")[number % 2]
    meta = {
        "class_id": IDS[label],
        "prompt": template.format(IDS[label].replace("{0..9}", "")),
        "template": template,
        "style": ("emoji", "outline")[number % 2],
        "seed": 2**63 - 1 - number,
        "guidance_scale": 3.0,
        "redraws": int(number == 3),
        "black": number == 3,
        **MADE,
    }
    image = np.asarray(icons.train.image(int(of_class[number % len(of_class)])).convert("RGB"))
    return Sample(f"{slug(IDS[label])}-{number:06d}", label, image, meta)


def write_dataset(folder, samples, **manifest):
    """Write `samples` as two shards; a request was given up."""
    about = {"shards": 2, "class_ids": list(IDS), "requests": len(IDS) * PER_CLASS + 1, "weights_sha256": "0" * 64}
    begin_dataset(folder, {**about, **MADE, **manifest})
    half = len(samples) // 2
    write_shard(folder, 0, samples[:half], [])
    write_shard(folder, 1, samples[half:], [GIVEN_UP])
    finish_dataset(folder)
    return folder


def refused(done, *said, code=2):
    assert done.exit_code == code, done.output
    words = " ".join(done.stderr.split())
    assert all(text in words for text in said), words


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
