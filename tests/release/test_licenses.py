"""The licenses of generators: what their cards say, and what an export makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made import refused, write_dataset
from typer.testing import Result

from genrobust.core.images import Sample
from genrobust.core.keys import hash_folder
from genrobust.release.licenses import licenses_of


def generator(folder: Path, header: str) -> Path:
    """A folder that passes for a generator's, with its card."""
    folder.mkdir()
    (folder / "model_index.json").write_text(f'{{"of": "{folder.name}"}}')
    (folder / "README.md").write_text(f"---\n{header}\n---\n# A generator\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("header", "named", "forbids"),
    [
        ("license: apache-2.0", "apache-2.0", False),
        ("license: [mit, cc-by-nc-4.0]", "mit, cc-by-nc-4.0", True),
        ("license: cc-by-nd-4.0", "cc-by-nd-4.0", True),
        ("license: other\nlicense_name: flux-1-dev-non-commercial-license", "flux-1-dev-non-commercial-license", True),
        ("license: other\nlicense_name: sai-nc-community", "sai-nc-community", True),
        ("license: research-only", "research-only", True),
        ("license: creativeml-openrail-m", "creativeml-openrail-m", False),
        ("license: other\nlicense_link: https://x.org/no-derivatives.md", "other", True),
        ("tags: [a]", "", False),
        ("license: [unclosed", "", False),
        ("license: cc-by-nc-4.0\nlicense: mit", "license: cc-by-nc-4.0 license: mit", True),
        ("license: mit\nversion: 010", "", False),
        ("license: &a [mit, &b [mit]]\nlicense_link: *b", "mit, ['mit']", False),
        ("license: " + "[" * 1000, "", False),
        ("license: &a [mit, mit]\nx: &b [*a, *a]\n" * 1 + "license_name: nc", "mit, mit", True),
        ("a list", "", False),
    ],
)
def test_a_license_is_what_the_generators_card_says(tmp_path: Path, header: str, named: str, forbids: bool) -> None:
    folder = generator(tmp_path / "g", header)
    (found,) = licenses_of([{"generator": "g", "weights_sha256": hash_folder(folder)}], folder)
    assert (found.generator, found.name, bool(found.forbids)) == ("g", named, forbids)


def test_the_embedded_generator_may_be_used() -> None:
    (found,) = licenses_of([{"generator": "pictograms", "mode": "labels"}], None)
    assert (found.name, found.forbids) == ("apache-2.0", "")


def test_a_license_that_forbids_must_be_accepted(
    run: Callable[..., Result], export: Callable[..., Path], tmp_path: Path, samples: list[Sample]
) -> None:
    folder = generator(tmp_path / "art", "license: cc-by-nc-4.0")
    source = write_dataset(tmp_path / "made", samples, generator="art", weights_sha256=hash_folder(folder))
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
