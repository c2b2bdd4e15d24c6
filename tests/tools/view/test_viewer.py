"""The page on which a dataset is reviewed: who may ask, what is found, and that no decision is lost."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from starlette.testclient import TestClient

from genrobust.cli import serve
from genrobust.core import Sample, StudyData, UserError
from genrobust.data import ShardDataset, kept_indices, read_review, review_of, write_reviewed, write_shard
from genrobust.data.shards import begin_dataset, finish_dataset
from genrobust.study import open_sets
from genrobust.tools.view import _filter_yaml, _open
from genrobust.tools.view.page import PAGE, Viewer, viewer_app

HOSTILE = "<img src=x onerror=alert(1)>"  # a class, a style and a prompt
COUNT = PAGE + 50
TOKEN = "secret"


@pytest.fixture
def dataset(tmp_path: Path, icons: StudyData) -> ShardDataset:
    """A page of images and some more, of two classes in turn; the first is large."""
    folder = tmp_path / "set"
    begin_dataset(folder, {"shards": 1, "class_ids": ["cup", HOSTILE]})
    pixels = [np.asarray(icons.train.image(i % 20)) for i in range(COUNT)]
    pixels[0] = np.asarray(icons.train.image(0).resize((300, 200)))
    metas = [{"style": HOSTILE if i % 5 == 0 else "flat", "prompt": f"{HOSTILE} number {i}"} for i in range(COUNT)]
    samples = [Sample(f"x-{i:06d}", i % 2, pixels[i], metas[i]) for i in range(COUNT)]
    lost = {"key": "x-999999", "label": 0, "prompt": "lost", "reason": "blank"}
    write_shard(folder, 0, samples, [lost])
    finish_dataset(folder)
    return ShardDataset(folder)


@pytest.fixture
def client(dataset: ShardDataset) -> TestClient:
    """What asks, below the token, as a browser does."""
    by_image = {
        "distance, test": [float(COUNT - i) for i in range(COUNT)],
        "nearest, test": [dataset.keys[-1]] * COUNT,
    }
    return client_of(Viewer(dataset.folder, dataset, dataset.label_names, by_image))


def client_of(viewer: Viewer) -> TestClient:
    return TestClient(viewer_app(viewer, TOKEN), base_url=f"http://127.0.0.1/{TOKEN}/")


def found(client: TestClient, **query: object) -> list[int]:
    return [image["index"] for image in client.get("images", params=query).json()["images"]]


def test_only_who_has_the_token_may_ask(client: TestClient) -> None:
    paths = ("", "images", "thumbnails/0", "images/0")
    for path in paths:
        assert client.get(path).status_code == 200
        assert client.get(f"http://127.0.0.1/{path}").status_code == 403
        assert client.get(f"http://127.0.0.1/other/{path}").status_code == 403
    assert client.post("http://127.0.0.1/decisions/0?reason=other").status_code == 403
    assert client.get("images").json()["counts"] == {"accepted": 0, "rejected": 0}


def test_the_page_runs_its_own_script_alone_and_shows_markup_as_text(client: TestClient) -> None:
    page = client.get("")
    assert HOSTILE not in page.text and "&lt;img src=x onerror=alert(1)&gt;" in page.text
    assert page.text.count("<script>") == 1 and "script-src 'sha256-" in page.text
    assert "innerHTML" not in page.text and "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


def test_images_are_found_in_pages_by_what_they_are(client: TestClient) -> None:
    everything = list(range(COUNT))
    assert found(client) == everything[:PAGE]
    assert found(client, start=PAGE) == found(client, start=10**8) == everything[PAGE:]
    assert found(client, **{"class": HOSTILE}) == everything[1::2]
    assert found(client, style=HOSTILE) == everything[::5]
    assert found(client, text=" NUMBER 24") == [24, *range(240, 250)]
    assert found(client, sort="distance, test") == everything[: -PAGE - 1 : -1]
    assert found(client, sort="-distance, test", style=HOSTILE) == everything[::5]
    assert found(client, sort="class") == sorted(everything, key=lambda i: i % 2)[:PAGE]


def test_small_images_are_sent_as_they_are_stored_and_large_ones_smaller(
    client: TestClient, dataset: ShardDataset
) -> None:
    stored = client.get("thumbnails/1")
    assert (stored.content, stored.headers["Content-Type"]) == (dataset.encoded(1), "image/png")
    assert "immutable" in stored.headers["Cache-Control"]
    assert Image.open(io.BytesIO(client.get("thumbnails/0").content)).size == (256, 171)
    assert client.get("images/0").content == dataset.encoded(0)


def test_images_of_ones_own_are_shown_and_not_decided(write_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_folder("own", "train", 4, {"anchor": "anchor", "bell": "bell"})
    before = set(tmp_path.rglob("*"))
    images = open_sets(str(folder)).dataset
    own = client_of(Viewer(folder, images, ("anchor", "bell"), {}))
    answer = own.get("images", params={"class": "bell"}).json()
    assert [image["key"] for image in answer["images"]] == [key for key in images.keys if key.startswith("bell/")]
    assert answer["counts"] is None and 'data-reason="other"' not in own.get("").text
    for path in ("thumbnails/0", "images/0"):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(own.get(path).content))), np.asarray(images.image(0)))
    assert set(tmp_path.rglob("*")) == before


def test_a_folder_with_a_manifest_of_another_program_is_shown(
    write_folder: Callable[..., Path],
) -> None:
    folder = write_folder("own", "train", 4, {"anchor": "anchor", "bell": "bell"})
    (folder / "manifest.json").write_text('{"name": "an app"}')
    images, names = _open(folder)
    assert (len(images), list(names)) == (8, ["anchor", "bell"])


def test_what_is_rejected_is_left_out_and_decisions_at_once_lose_none(
    client: TestClient, dataset: ShardDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def post(index: int, reason: str | None) -> int:
        return client.post(f"decisions/{index}", params={} if reason is None else {"reason": reason}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(post, range(12), ["artifacts", "", "other"] * 4)) == {200}
    assert post(0, None) == post(1, "duplicate") == 200
    review = review_of(dataset)
    (tmp_path / "link").symlink_to(dataset.folder)
    monkeypatch.chdir(dataset.folder)
    for path in (Path(), tmp_path / "link"):
        assert review_of(ShardDataset(path)) == review, "however the folder is named"
    assert sorted(review.rejected) == [dataset.keys[i] for i in (1, 2, 3, 5, 6, 8, 9, 11)]
    assert review.rejected[dataset.keys[1]] == "duplicate"
    assert found(client, state="accepted") == [4, 7, 10]
    assert found(client, state="rejected") == [1, 2, 3, 5, 6, 8, 9, 11]
    assert found(client, state="unreviewed")[:2] == [0, 12]
    rest = kept_indices(dataset, write_reviewed(dataset, review, tmp_path / "filter", {}))
    assert [key for i, key in enumerate(dataset.keys) if i not in set(rest)] == sorted(review.rejected)
    assert ShardDataset(dataset.folder).fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
    ("path", "code", "named"),
    [
        ("images?start=x", 400, "start"),
        ("images?start=-1", 400, "start"),
        (f"images?start={'9' * 5000}", 400, "start"),
        ("images?class=dog", 400, "dog"),
        ("images?style=dog", 400, "dog"),
        ("images?state=dog", 400, "dog"),
        ("images?sort=dog", 400, "dog"),
        ("thumbnails/999", 404, "999"),
        ("images/-1", 404, "-1"),
        (f"images/{'9' * 5000}", 404, "no image"),
        ("pictures/0", 404, "pictures"),
        ("nothing", 404, "nothing"),
    ],
)
def test_a_wrong_address_gets_an_answer_that_says_what_is_wrong(
    client: TestClient, path: str, code: int, named: str
) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (code, "nosniff")
    assert named in answer.text and len(answer.text) < 500


def test_decisions_on_wrong_images_are_refused(client: TestClient, write_folder: Callable[..., Path]) -> None:
    assert client.post("decisions/999?reason=other").status_code == 404
    assert client.get("decisions/0").status_code == 404
    folder = write_folder("own", "train", 4, {"anchor": "anchor", "bell": "bell"})
    own = client_of(Viewer(folder, open_sets(str(folder)).dataset, ("anchor", "bell"), {}))
    assert own.post("decisions/0?reason=other").status_code == 404


@pytest.mark.parametrize(
    ("host", "code"),
    [("127.0.0.1:80", 200), ("localhost", 200), ("evil.example", 400), ("127.0.0.1.evil.example", 400)],
)
def test_a_name_that_resolves_to_this_machine_gets_no_answer(client: TestClient, host: str, code: int) -> None:
    assert client.get("images", headers={"Host": host}).status_code == code


def test_a_review_that_someone_breaks_is_reported_on_the_page(client: TestClient, dataset: ShardDataset) -> None:
    review_of(dataset).file.write_text("{")
    answer = client.post("decisions/0", params={"reason": "other"})
    assert answer.status_code == 500 and "set.review.json" in answer.text


def test_a_dataset_that_was_moved_away_is_reported_and_not_made_anew(client: TestClient, dataset: ShardDataset) -> None:
    dataset.folder.rename(dataset.folder.with_name("moved"))
    before = set(dataset.folder.parent.iterdir())
    answer = client.post("decisions/0", params={"reason": "other"})
    assert answer.status_code == 500 and str(dataset.folder) in answer.text
    assert set(dataset.folder.parent.iterdir()) == before


def test_reviews_of_other_images_are_refused_by_both_names(
    dataset: ShardDataset, write_shards: Callable[..., Path], tmp_path: Path, icons: StudyData
) -> None:
    other = ShardDataset(write_shards(tmp_path / "other", [icons.val.image(i) for i in range(4)], ["cup", "tree"]))
    file = tmp_path / "list.json"
    facts = {"dataset": "other", "fingerprint": other.fingerprint, "accepted": [], "rejected": {"cup-000000": "other"}}
    file.write_text(json.dumps(facts))
    assert write_reviewed(other, read_review(file), tmp_path / "filter", {}).kept == 3
    with pytest.raises(UserError, match=r"review of other .*set"):
        write_reviewed(dataset, read_review(file), tmp_path / "filter", {})
    for wrong, named in (
        ({"rejected": {"cup-9": "x"}}, "cup-9"),
        ({"rejected": dict.fromkeys(other.keys, "x")}, "every image"),
        ({"rejected": ["cup-000000"]}, r"list\.json"),
        ({"fingerprint": "0"}, "other"),
    ):
        file.write_text(json.dumps(facts | wrong))
        with pytest.raises(UserError, match=named):
            write_reviewed(other, read_review(file), tmp_path / "filter", {})
    with pytest.raises(UserError, match=r"none\.json"):
        read_review(tmp_path / "none.json")


def test_a_port_in_use_is_named(dataset: ShardDataset) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port}: "):
            serve(Viewer(dataset.folder, dataset, (), {}), port, lambda address: None)


@pytest.mark.parametrize(
    ("folder", "review", "written"), [("", "a/b", "a/b"), ("recipes", "a/b", "../a/b"), ("recipes", "/a/b", "/a/b")]
)
def test_the_path_of_a_review_begins_at_the_folder_of_the_recipe(folder: str, review: str, written: str) -> None:
    lines = yaml.safe_load(_filter_yaml("cleaned", Path(review), Path(folder)))
    assert lines["datasets"]["cleaned"]["filter"]["file"] == written
