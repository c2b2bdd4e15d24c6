"""A dataset of the hub is read as a folder is, and fetched once."""

import http.server
import json
import threading
from pathlib import Path

import pytest
from huggingface_hub import constants

from genrobust.core import GenrobustError, UserError
from genrobust.data import load_data, open_stored
from genrobust.data.hub_sets import fetch_dataset
from genrobust.data.readers.domain_sets import Domains
from genrobust.data.readers.folders import Folders


class Hub(http.server.BaseHTTPRequestHandler):
    """One dataset, as the hub serves it; `asked` are the files that were downloaded."""

    folder: Path
    asked: list[str]

    def do_GET(self) -> None:
        name = self.path.partition(f"/resolve/{'0' * 40}/")[2]
        if name:
            body = (self.folder / name).read_bytes()
            if self.command == "GET":
                self.asked.append(name)
        elif self.path.startswith("/api/datasets/me/photos/"):
            paths = [path for path in self.folder.rglob("*") if path.is_file()]
            files = [(path.relative_to(self.folder).as_posix(), path.stat().st_size) for path in paths]
            tree = [{"type": "file", "path": file, "size": size, "oid": file} for file, size in files]
            siblings = [{"rfilename": file} for file, _ in files]
            told = tree if "/tree/" in self.path else {"id": "me/photos", "sha": "0" * 40, "siblings": siblings}
            body = json.dumps(told).encode()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        for key, value in {"ETag": f'"{name.replace("/", "-")}"', "X-Repo-Commit": "0" * 40}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(pictogram_data, monkeypatch, tmp_path):
    """A hub with icons of two classes by split, and by domain."""
    Hub.folder, Hub.asked = tmp_path / "hub", []
    images = pictogram_data.train
    for part in ("train", "test", "domains/ink", "domains/oil"):
        for label in range(2):
            folder = Hub.folder / part / f"class{label}"
            folder.mkdir(parents=True)
            for number, index in enumerate((images.labels == label).nonzero()[0][:4]):
                images.image(index).save(folder / f"{part.replace('/', '-')}-{number}.png")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield Hub
        server.shutdown()
        thread.join()


def test_folders_on_the_hub_are_read_like_folders_here_and_fetched_once(hub):
    at = "hf://datasets/me/photos"
    config = {"train": f"{at}@v1/train", "test": f"{at}@v1/test", "held_out": 0.25}
    here = {**config, "train": hub.folder / "train", "test": hub.folder / "test"}
    fetched, local = (load_data(Folders.model_validate({"source": "folders", **keys})) for keys in (config, here))
    for mine, theirs in ((fetched.train, local.train), (fetched.tests["test"], local.tests["test"])):
        assert (mine.keys, mine.labels.tolist()) == (theirs.keys, theirs.labels.tolist())
        assert all(mine.image(i).tobytes() == theirs.image(i).tobytes() for i in range(len(mine)))
    assert sorted(hub.asked) == sorted(
        f"{p.parent.parent.name}/{p.parent.name}/{p.name}" for p in hub.folder.rglob("t*.png")
    )
    before = list(hub.asked)
    assert open_stored(Path(f"{at}@v1/train")).groups == ("class0", "class1")
    assert hub.asked == before


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
