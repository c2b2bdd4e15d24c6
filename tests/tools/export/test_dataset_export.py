"""What an export refuses, what it leaves behind when it fails, and what its card says of the dataset."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from huggingface_hub import DatasetCard
from made import GIVEN_UP, IDS, PER_CLASS, contents, refused, write_dataset

TOTAL = len(IDS) * PER_CLASS


def test_what_lies_in_a_folder_stays(run, export, tmp_path):
    (tmp_path / "out").mkdir()
    before = contents(export("--to", "parquet"))  # into an empty folder
    assert before.keys() == {"README.md", "croissant.json", "data/train-00000-of-00001.parquet"}
    refused(run("--to", "imagefolder"), "--out")
    assert contents(tmp_path / "out") == before


def test_a_damaged_dataset_or_one_without_a_shard_leaves_nothing(run, tmp_path, dataset):
    damaged = Path(shutil.copytree(dataset, tmp_path / "damaged"))
    with (damaged / "000001.tar").open("r+b") as file:
        file.seek(20_000)
        file.write(b"\xff" * 2000)
    refused(run("--to", "imagefolder", source=damaged), "000001.tar", "has changed", code=1)
    (damaged / "000001.json").unlink()
    refused(run("--to", "parquet", source=damaged), "1 of 2 shards are missing")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


KILLED = """
import os, signal, sys
from pathlib import Path
from genrobust.tools.export.folder import new_folder
with new_folder(Path(sys.argv[1])) as folder:
    (folder / "README.md").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_nothing_that_looks_complete(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")])
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()


def card_of(folder):
    """The card's header, and its body without escapes."""
    card = DatasetCard.load(folder / "README.md")
    return card.data.to_dict(), re.sub(r"\\(.)", r"\1", card.text)


def test_the_card_counts_what_is_in_the_shards(export, samples):
    header, body = card_of(export("--to", "parquet", "--license", "cc-by-4.0"))
    assert header["license"] == "cc-by-4.0" and "This dataset: cc-by-4.0." in body
    assert header["task_categories"] == ["image-classification"]
    assert f"{TOTAL} images of {len(IDS)} classes" in body and f"{PER_CLASS} images a class" in body
    redrawn = sum(s.meta["redraws"] > 0 for s in samples) + 1
    faults = f"{TOTAL + 1} requests, 1 gave no image (1 {GIVEN_UP['reason']}), and {redrawn} took more than one try"
    assert faults in body and "The license of the generator pictograms may restrict" in body


def test_a_foreign_text_is_no_markup_and_an_adapter_is_named(export, tmp_path, samples):
    source = write_dataset(tmp_path / "made", samples, generator="<b>*x*|`y`", adapter="art/redux")
    folder = export("--to", "imagefolder", source=source)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert r"the generator \<b\>\*x\*\|\`y\`" in text and str(tmp_path) not in text
    assert "The license of the adapter art/redux may restrict" in card_of(folder)[1]
