"""The licenses of generators and of what is added to them: what their cards say, and what an export makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from made import refused, write_dataset
from typer.testing import Result

from genrobust.core.artifact import Artifact, Manifest
from genrobust.core.generator_files import hash_generator
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
    ("header", "named", "forbids"),
    [
        ("license: apache-2.0", "apache-2.0", False),
        ("license: [mit, cc-by-nc-4.0]", "mit, cc-by-nc-4.0", True),
        ("license: cc-by-nd-4.0", "cc-by-nd-4.0", True),
        ("license: other\nlicense_name: flux-1-dev-non-commercial-license", "flux-1-dev-non-commercial-license", True),
        ("license: other\nlicense_name: sai-nc-community", "sai-nc-community", True),
        ("license: research-only", "research-only", True),
        *((f"license: {name}", name, True) for name in ("intel-research", "apple-amlr", "deepfloyd-if-license")),
        ("license: other\nlicense_name: NSCL v2-custom", "NSCL v2-custom", True),
        ("license: creativeml-openrail-m", "creativeml-openrail-m", False),
        ("license: other\nlicense_link: https://x.org/no-derivatives.md", "other", True),
        ("tags: [a]", "", False),
        ("license: [unclosed", "", False),
        ("a list", "", False),
    ],
)
def test_a_license_is_what_the_generators_card_says(tmp_path: Path, header: str, named: str, forbids: bool) -> None:
    folder = generator(tmp_path / "g", header)
    (found,) = licenses_of([{"generator": "g", "weights_sha256": hash_generator(folder)}], folder)
    assert (found.part, found.id, found.name, bool(found.forbids)) == ("generator", "g", named, forbids)


def test_a_part_is_named_once_and_a_folder_without_a_card_is_unknown() -> None:
    drawn = {"generator": "pictograms", "mode": "labels"}
    found = licenses_of([drawn, drawn, {"generator": "/a/folder", "lora": "../.."}], None)
    assert [(of.id, of.name, of.forbids) for of in found] == [
        ("pictograms", "apache-2.0", ""),
        ("/a/folder", "", ""),
        ("../..", "", ""),
    ]


def test_a_license_that_forbids_must_be_accepted(
    run: Callable[..., Result], export: Callable[..., Path], tmp_path: Path, samples: list[Sample]
) -> None:
    folder = generator(tmp_path / "art", "license: cc-by-nc-4.0")
    source = write_dataset(tmp_path / "made", samples, generator="art", weights_sha256=hash_generator(folder))
    words = ("--to", "parquet", "--generator", folder)
    refused(run(*words, source=source), "art", "cc-by-nc-4.0", "--accept-license")
    assert not (tmp_path / "out").exists()
    card = (export(*words, "--accept-license", source=source) / "README.md").read_text(encoding="utf-8")
    assert "The generator art is under cc-by-nc-4.0, which restricts" in card


def test_an_unknown_license_is_told(run: Callable[..., Result], tmp_path: Path, samples: list[Sample]) -> None:
    source = write_dataset(tmp_path / "made", samples, generator="art", weights_sha256="1")
    refused(run("--to", "parquet", source=source), "warning", "generator art", code=0)
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "No card of the generator art was found" in text
    assert "No license was chosen for this dataset" in text


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


@pytest.mark.parametrize(("key", "part"), [("lora", "LoRA"), ("adapter", "adapter")])
def test_what_was_added_to_the_generator_may_restrict_the_images(
    run: Callable[..., Result],
    export: Callable[..., Path],
    tmp_path: Path,
    samples: list[Sample],
    on_hub: Callable[..., None],
    key: str,
    part: str,
) -> None:
    on_hub("art/redux", "cc-by-nc-4.0")
    source = write_dataset(tmp_path / "made", samples, **{key: "art/redux"})
    refused(run("--to", "parquet", source=source), f"the {part} art/redux", "cc-by-nc-4.0", "--accept-license")
    card = (export("--to", "parquet", "--accept-license", source=source) / "README.md").read_text(encoding="utf-8")
    assert f"The {part} art/redux is under cc-by-nc-4.0, which restricts" in card
    assert "drawn by the\ngenerator pictograms:" in card


def test_of_several_revisions_each_may_forbid(on_hub: Callable[..., None]) -> None:
    """Only one of them drew, perhaps no branch's newest: a recipe can name any."""
    on_hub("art/words", "mit", "cc-by-nc-4.0", "mit")
    (found,) = licenses_of([{"generator": "art/words", "mode": "labels"}], None)
    assert (found.name, found.forbids) == ("mit, cc-by-nc-4.0", "cc-by-nc-4.0")


def test_what_was_trained_from_a_generator_is_under_its_license(tmp_path: Path, on_hub: Callable[..., None]) -> None:
    on_hub("art/words", "cc-by-nc-4.0")
    folder = generator(tmp_path / "mine", "license: mit")
    manifest = {"generator": "mine", "mode": "labels", "weights_sha256": hash_generator(folder)}
    (own,) = licenses_of([manifest], folder)
    Artifact(folder).publish(Manifest("generator", {"base": "art/words"}))
    manifest["weights_sha256"] = hash_generator(folder)
    (found,) = licenses_of([manifest], folder)
    assert (own.name, own.forbids) == ("mit", "")
    assert (found.name, found.forbids) == ("mit, cc-by-nc-4.0", "cc-by-nc-4.0")
    (folder / "README.md").unlink()
    (found,) = licenses_of([manifest], folder)
    assert (found.name, found.forbids) == ("cc-by-nc-4.0", "cc-by-nc-4.0")


def test_an_export_names_the_adapter(
    export: Callable[..., Path], tmp_path: Path, samples: list[Sample], on_hub: Callable[..., None]
) -> None:
    named = [Sample(s.key, s.label, s.image, {**s.meta, **REDUX, "adapter_file": "ip.safetensors"}) for s in samples]
    folder = export("--to", "parquet", source=write_dataset(tmp_path / "made", named, **REDUX))
    (file,) = (folder / "data").glob("train-*.parquet")
    assert set(pq.read_table(file, columns=["adapter"])["adapter"].to_pylist()) == {"art/redux"}
    card = (folder / "README.md").read_text(encoding="utf-8")
    rows = {"adapter": "art/redux", "adapter file": "ip.safetensors", "adapter sha256": "2", "adapter scale": "0.5"}
    for name, value in rows.items():
        assert f"| {name} | {value} |" in card
    assert "| adapter | the adapter through which" in card and "adapter: art/redux" in card
    assert "No card of the adapter art/redux was found: its license is not known, and holds as well." in card
