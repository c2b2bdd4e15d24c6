"""The licenses that cards of generators and networks state, and what an export says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from made import write_dataset

from genrobust.core.images import Sample
from genrobust.tools.export.licenses import license_of_network, licenses_of


def generator(folder: Path, header: str) -> Path:
    """A folder that passes for a generator's, with its card."""
    folder.mkdir()
    (folder / "model_index.json").write_text(f'{{"of": "{folder.name}"}}')
    (folder / "README.md").write_text(f"---\n{header}\n---\n# A generator\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("init", "license"),
    [
        ("resnet50.a1_in1k", "apache-2.0"),
        ("convnextv2_tiny.fcmae_ft_in22k_in1k", "cc-by-nc-4.0"),
        ("hf-hub:nobody/nothing", ""),
        ("clip:somewhere", ""),
        ("clip:pictograms", "apache-2.0"),
        ("/a/folder", ""),
        ("no_such_network", ""),
        ("", ""),
    ],
)
def test_a_pretrained_network_has_the_license_that_timm_knows(init: str, license: str) -> None:
    assert license_of_network(init) == license


def test_a_folder_has_the_license_of_its_card_and_no_network_of_its_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator(tmp_path / "resnet50", "license: cc-by-nc-4.0")
    generator(tmp_path / "resnet50.mine", "other: key")
    found = [license_of_network(init) for init in ("resnet50", "local-dir:resnet50", "resnet50.mine")]
    assert found == ["cc-by-nc-4.0", "cc-by-nc-4.0", ""]


@pytest.mark.parametrize(
    ("header", "stated"),
    [
        ("license: apache-2.0", "apache-2.0"),
        ("license: [mit, cc-by-nc-4.0]", "mit, cc-by-nc-4.0"),
        ("license: other\nlicense_name: flux-1-dev-non-commercial-license", "flux-1-dev-non-commercial-license"),
        ("license: other", "other"),
        ("tags: [a]", ""),
        ("license: [unclosed", ""),
        ("a list", ""),
    ],
)
def test_a_license_is_what_the_card_says(tmp_path: Path, header: str, stated: str) -> None:
    assert license_of_network(f"local-dir:{generator(tmp_path / 'g', header)}") == stated


def test_every_part_is_named_and_one_without_a_card_is_unknown() -> None:
    drawn = {"generator": "pictograms", "mode": "labels"}
    assert licenses_of(drawn) == [("generator", "pictograms", "apache-2.0")]
    assert licenses_of({"generator": "/a/folder", "lora": "../.."}) == [
        ("generator", "/a/folder", ""),
        ("LoRA", "../..", ""),
    ]


REDUX: dict[str, Any] = {"adapter": "art/redux", "adapter_sha256": "2", "adapter_scale": 0.5}


@pytest.fixture
def on_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts the cards of a hub id, each with a license, into a cache of downloads."""
    cache = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))

    def put(id: str, *licenses: str) -> None:
        for revision, license in enumerate(licenses):
            card = cache / f"models--{id.replace('/', '--')}" / "snapshots" / str(revision) / "README.md"
            card.parent.mkdir(parents=True)
            card.write_text(f"---\nlicense: {license}\n---\n")

    return put


def test_cards_of_all_revisions_count(on_hub: Callable[..., None]) -> None:
    """Only one of them drew, perhaps no branch's newest: a recipe can name any."""
    on_hub("art/words", "mit", "cc-by-nc-4.0", "mit")
    assert licenses_of({"generator": "art/words"}) == [("generator", "art/words", "mit, cc-by-nc-4.0")]


def test_an_export_names_the_adapter(
    export: Callable[..., Path], tmp_path: Path, samples: list[Sample], on_hub: Callable[..., None]
) -> None:
    named = [Sample(s.key, s.label, s.image, {**s.meta, **REDUX, "adapter_file": "ip.safetensors"}) for s in samples]
    folder = export("--to", "parquet", source=write_dataset(tmp_path / "made", named, **REDUX))
    (file,) = (folder / "data").glob("train-*.parquet")
    assert set(pq.read_table(file, columns=["adapter"])["adapter"].to_pylist()) == {"art/redux"}
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "| adapter | the adapter through which" in card and "adapter: art/redux" in card
    assert "The adapter art/redux: its license is not known here." in card
    assert "The generator pictograms: apache-2.0, as its card says." in card
    assert "No license was chosen for this dataset" in card
