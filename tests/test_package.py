"""What is given away: the wheel holds all that the program reads, works on its own, and says whose work it is."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder

from genrobust import __version__
from genrobust.core import StudyData

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def builder() -> WheelBuilder:
    return WheelBuilder(str(ROOT))


@pytest.fixture(scope="module")
def files(builder: WheelBuilder) -> set[str]:
    """The paths in the wheel, as the build backend chooses them."""
    return {file.distribution_path for file in builder.recurse_included_files()}


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(files: set[str]) -> None:
    source = ROOT / "src"
    there = {p.relative_to(source).as_posix() for p in (source / "genrobust").rglob("*") if p.is_file()}
    assert files == {path for path in there if "__pycache__" not in path}
    assert not any(re.search(r"(^|/)(tests?|conftest\.py|test_\w+\.py)(/|$)", path) for path in files)


@pytest.mark.parametrize("name", ["clip", "generator", "variation"])
def test_a_network_s_card_is_the_one_that_its_makers_edit(name: str) -> None:
    """`pictograms/assemble.py` copies a card beside new weights: an edit of the copy alone would be lost."""
    card = ROOT / "src/genrobust/assets" / name / "README.md"
    assert card.read_bytes() == (ROOT / "pictograms" / f"{name}-card.md").read_bytes()


def test_the_licenses_that_the_readme_names_go_along(builder: WheelBuilder, files: set[str]) -> None:
    license = README.partition("\n## License\n")[2]
    linked = set(re.findall(r"\]\((?!http)([^)]+)\)", license)) - {"pictograms/README.md"}  # how they were made
    assert "NOTICE" in linked and len(linked) >= 2
    for path in linked:
        assert path in builder.metadata.core.license_files or path.removeprefix("src/") in files
    assert set(builder.metadata.core.license_files) == {"LICENSE", "NOTICE"}
    assert license.startswith(f"{builder.metadata.core.license_expression}. ")
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8").splitlines()
    sets = json.loads((ROOT / "src/genrobust/assets/pictograms/sets.json").read_text(encoding="utf-8"))
    for of in sets.values():  # everyone whose icons are in the package
        named = [line for line in notice if line.startswith(f"- {of['title']}, by {of['author']}")]
        assert any(f": {of['license']}" in line for line in named), of["title"]


def test_all_that_names_a_version_names_the_same(builder: WheelBuilder) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    named = {builder.metadata.version, citation["version"], re.findall(r"^## ([\d.]+)", changes, flags=re.M)[0]}
    assert named == {__version__}
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Bansal", "Grover"]
    assert paper["url"] in README


@pytest.mark.thorough
def test_the_archives_of_a_release_pass_the_checks_of_pypi(tmp_path: Path, files: set[str]) -> None:
    for words in (["build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)], ["twine", "check", "--strict"]):
        packed = sorted(str(path) for path in tmp_path.iterdir())
        subprocess.run([sys.executable, "-m", *words, *packed], check=True)
    source, wheel = sorted(tmp_path.iterdir(), key=lambda path: path.suffix)
    assert source.name == f"genrobust-{__version__}.tar.gz"
    packages = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("genrobust/")}
    assert packages == files  # the wheel is built from the source archive


@pytest.mark.thorough
def test_from_the_wheel_to_the_prediction_of_first_hour(tmp_path: Path, pictogram_data: StudyData) -> None:
    """The packages that genrobust needs are those of the present environment, which stand in for an index; genrobust
    itself is the wheel's.
    """
    start = (ROOT / "docs/start.md").read_text(encoding="utf-8").partition("## A prediction")[2]
    (predict,) = re.findall(r"^``` { .sh .norun }\ngenrobust (.*?)\n```$", start, flags=re.M | re.S)[:1]
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    (wheel,) = tmp_path.glob("genrobust-*.whl")
    assert zipfile.ZipFile(wheel).testzip() is None
    images = pictogram_data.tests["test"]
    chosen = range(0, len(images), 20)
    for index in chosen:
        place = tmp_path / "photos" / "große Bilder"
        place.mkdir(parents=True, exist_ok=True)
        images.image(index).save(place / f"{index} ü.png")

    known = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    path = os.pathsep.join([str(Path(sys.executable).parent), known["PATH"]])
    environment = {**known, "PATH": path, "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1"}

    def run(line: str) -> str:
        words = ["bash", "-euo", "pipefail", "-c", line]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        return done.stdout

    run("python3 -m venv icons")
    home = tmp_path / "icons"
    own = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    assert not [*own.glob("torch*"), *own.glob("genrobust*")]  # it is empty
    run("icons/bin/pip install genrobust-*.whl")
    licenses = own / f"genrobust-{__version__}.dist-info" / "licenses"
    assert {path.name: path.read_bytes() for path in licenses.iterdir()} == {
        name: (ROOT / name).read_bytes() for name in ("LICENSE", "NOTICE")
    }
    (own / "present.pth").write_text(sysconfig.get_path("purelib") + "\n")  # searched after the wheel's own folder
    found = run("icons/bin/python -c 'import genrobust; print(genrobust.__file__)'")
    assert Path(found.strip()).is_relative_to(own)
    assert run("icons/bin/genrobust --version") == f"genrobust {metadata.version('genrobust')}\n"

    assert "runs/pictograms-quick/report.html" in run("icons/bin/genrobust run pictograms --quick").splitlines()
    rows = list(csv.DictReader(run(f"icons/bin/genrobust {predict} --quick").splitlines()))
    assert sorted(row["path"] for row in rows) == sorted(f"große Bilder/{index} ü.png" for index in chosen)
    answers = {int(row["path"].split("/")[1].split()[0]): row["class_1"] for row in rows}
    ids = pictogram_data.labels.ids
    right = sum(answers[index] == ids[images.labels[index]] for index in chosen)
    assert right >= len(chosen) // 4  # of 100 classes; the arm is right on 67 % of this set
