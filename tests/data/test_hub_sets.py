"""A dataset of the hub is read as a folder is, and fetched once."""

from pathlib import Path

import pytest
from hub_server import Hub, serving
from huggingface_hub import constants

from genrobust.core import GenrobustError, UserError
from genrobust.data import load_data, open_stored
from genrobust.data.hub_sets import fetch_dataset
from genrobust.data.readers.domain_sets import Domains
from genrobust.data.readers.folders import Folders


@pytest.fixture
def hub(pictogram_data, monkeypatch, tmp_path):
    """A hub with icons of two classes by split, and by domain; the folder holds the same files."""
    images, root = pictogram_data.train, tmp_path / "files"
    for part in ("train", "test", "domains/ink", "domains/oil"):
        for label in range(2):
            folder = root / part / f"class{label}"
            folder.mkdir(parents=True)
            for number, index in enumerate((images.labels == label).nonzero()[0][:4]):
                images.image(index).save(folder / f"{part.replace('/', '-')}-{number}.png")
    with serving("me/photos", monkeypatch, tmp_path):
        Hub.files |= {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.png")}
        yield root


def test_folders_on_the_hub_are_read_like_folders_here_and_fetched_once(hub):
    at = "hf://datasets/me/photos"
    config = {"train": f"{at}@v1/train", "test": f"{at}@v1/test", "held_out": 0.25}
    here = {**config, "train": hub / "train", "test": hub / "test"}
    fetched, local = (load_data(Folders.model_validate({"source": "folders", **keys})) for keys in (config, here))
    for mine, theirs in ((fetched.train, local.train), (fetched.tests["test"], local.tests["test"])):
        assert (mine.keys, mine.labels.tolist()) == (theirs.keys, theirs.labels.tolist())
        assert all(mine.image(i).tobytes() == theirs.image(i).tobytes() for i in range(len(mine)))
    assert sorted(Hub.fetched) == sorted(name for name in Hub.files if name.startswith("t"))
    before = list(Hub.fetched)
    assert open_stored(Path(f"{at}@v1/train")).groups == ("class0", "class1")
    assert Hub.fetched == before


def test_a_domain_set_on_the_hub_is_read_by_its_root(hub):
    config = {"source": "domains", "root": "hf://datasets/me/photos/domains", "real": "ink"}
    data = load_data(Domains.model_validate(config))
    assert set(data.tests) >= {"ink", "oil"}


@pytest.mark.parametrize(
    ("address", "error", "says"),
    [
        ("hf://datasets/photos", UserError, "OWNER/NAME"),
        ("hf://models/me/photos", UserError, "OWNER/NAME"),
        ("hf://datasets/me/pho..tos", UserError, r"hf://datasets/me/pho\.\.tos"),
        ("hf://datasets/me/photos/valid", UserError, "has no valid"),
        ("hf://datasets/me/others", GenrobustError, "cannot fetch hf://datasets/me/others from the hub"),
    ],
)
def test_an_address_that_leads_nowhere_is_named(hub, address, error, says):
    with pytest.raises(error, match=says):
        fetch_dataset(Path(address))


def test_without_a_hub_the_download_is_used(hub, monkeypatch):
    place = Path("hf://datasets/me/photos/train")
    folder = fetch_dataset(place)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert fetch_dataset(place) == folder
