"""The page on which images are labeled: what is asked, what is saved, and that the difference is the true one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from genrobust.core import UserError
from genrobust.data.csv_files import list_csv
from genrobust.tools.label.label_file import NO_CLASS, UNCERTAIN, LabelFile
from genrobust.tools.label.label_page import Compared, LabelDesk, labeling_app

CLASSES = ("cat", "dog", "owl")
COUNT = 40
TOKEN = "secret"


class Site:
    """Images of a site without labels, the true classes, and two classifiers that differ on half of the images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "site").mkdir()
        rng = np.random.default_rng(0)
        self.paths = [f"site/{number:02d}.png" for number in range(COUNT)]
        for path in self.paths:
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(folder / path)
        self.true = rng.integers(0, 3, COUNT)
        self.first = self.true.copy()
        self.second = self.true.copy()
        # Both are wrong on a few images, the first also on two that the second has right, and the second on 14.
        self.first[:4], self.second[:4] = (self.true[:4] + 1) % 3, (self.true[:4] + 2) % 3
        self.first[4:6] = (self.true[4:6] + 1) % 3
        self.second[6:20] = (self.true[6:20] + 1) % 3

    def desk(self, by: str = "ann") -> LabelDesk:
        predicted = [[CLASSES[label] for label in labels] for labels in (self.first, self.second)]
        compared = Compared(self.folder, self.paths, ("mixed", "real"), (predicted[0], predicted[1]))
        return LabelDesk(compared, CLASSES, LabelFile(self.folder, "site", CLASSES), by)

    def client(self, by: str = "ann") -> TestClient:
        return TestClient(labeling_app(self.desk(by), TOKEN), base_url=f"http://127.0.0.1/{TOKEN}/")

    def truth(self, index: int) -> str:
        return CLASSES[self.true[index]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def answer(client: TestClient, index: int, text: str) -> dict[str, object]:
    return client.post(f"answers/{index}", params={"answer": text}).json()


def test_only_images_on_which_the_two_differ_are_asked_and_all_labels_give_the_true_difference(site: Site) -> None:
    client = site.client()
    state = client.get("state").json()
    assert (state["labeled"], state["differing"]) == (0, 20)
    asked, decided = [], []
    while state["next"] is not None:
        asked.append(state["next"])
        state = answer(client, state["next"], site.truth(state["next"]))
        decided.append(state["result"].startswith("Enough"))
    assert sorted(asked) == list(range(20))
    names = [site.paths[index] for index in asked]
    assert names != sorted(names), "the order is random"
    # Of 40 images, 14 - 2 more are right.
    assert "mixed is better than real by at least 30.0 points" in state["result"]
    assert any(decided[:-1]), "it says so before all are labeled"
    listing = list_csv(site.folder / "site.labels.csv")
    assert dict(zip(listing.keys, listing.groups, strict=True)) == {
        site.paths[index]: site.truth(index) for index in asked
    }


def test_answers_survive_a_restart_and_can_be_taken_back(site: Site) -> None:
    client = site.client()
    first = client.get("state").json()["next"]
    second = answer(client, first, "cat")["next"]
    again = site.client()
    state = again.get("state").json()
    assert (state["next"], state["last"], state["labeled"]) == (second, first, 1)
    state = again.post(f"answers/{first}").json()
    assert (state["next"], state["last"], state["labeled"]) == (first, None, 0)


def test_images_without_a_class_count_or_are_left_out_and_are_in_no_test_set(site: Site) -> None:
    client = site.client()
    for index in range(19):
        answer(client, index, site.truth(index))
    state = answer(client, 19, UNCERTAIN)
    # One image that only the first has right is left out: 13 - 2 of 39.
    assert state["next"] is None and state["uncertain"] == 1 and "28.2 points" in state["result"]
    state = answer(client, 19, NO_CLASS)
    assert state["uncertain"] == 0 and "27.5 points" in state["result"]
    assert site.paths[19] not in list_csv(site.folder / "site.labels.csv").keys


@pytest.mark.parametrize("path", ["site/\N{LEFT-TO-RIGHT MARK}a.jpg", " site/a.jpg"])
def test_a_name_that_a_table_would_change_is_refused_and_nothing_is_written(site: Site, path: str) -> None:
    file = LabelFile(site.folder, "site", CLASSES)
    with pytest.raises(UserError, match="rename it"):
        file.answer(path, "ann", CLASSES[0])
    assert file.read() == []


def test_two_people_label_alone_and_only_what_they_agree_on_is_a_label(site: Site) -> None:
    ann, bob = site.client("ann"), site.client("bob")
    answer(ann, 0, "cat")
    answer(ann, 1, "dog")
    state = answer(bob, 0, "owl")
    assert (state["labeled"], state["disagreements"]) == (1, 1)
    answer(bob, 1, "dog")
    assert list_csv(site.folder / "site.labels.csv").keys == [site.paths[1]]


@pytest.mark.parametrize(
    ("path", "status"),
    [("answers/0?answer=cow", 400), ("answers/30?answer=cat", 404), ("answers/x?answer=cat", 404)],
)
def test_an_unknown_answer_or_image_is_refused(site: Site, path: str, status: int) -> None:
    assert site.client().post(path).status_code == status
    assert not (site.folder / "site.answers.csv").exists()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("path,answer\nsite/00.png,cat\n", "columns"),
        ("path,answer,by\nsite/00.png,cow,ann\n", "line 2"),
        ("path,answer,by\nsite/00.png,cat,ann\nsite/00.png,dog,ann\n", "line 3"),
    ],
)
def test_a_file_that_was_edited_wrongly_is_named_and_kept(site: Site, text: str, named: str) -> None:
    file = site.folder / "site.answers.csv"
    file.write_text(text)
    with pytest.raises(UserError, match=named):
        site.desk().answer(0, "cat")
    assert file.read_text() == text
