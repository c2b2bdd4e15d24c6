"""What is given away: the wheel holds all that the program reads, works on its own, and says whose work it is."""

from __future__ import annotations

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
from genrobust.recipe import recipe_names

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


def test_the_wheel_holds_what_the_program_reads_at_run_time(files: set[str]) -> None:
    wanted = {f"recipes/{name}.yaml" for name in recipe_names()}
    wanted |= {"py.typed", "init.yaml.j2", "report/report.html.j2", "report/report.css", "report/report.js"}
    wanted |= {"pages/page.html.j2", "pages/audit.html.j2", "pages/benchmark.html.j2", "release/dataset_card.md.j2"}
    wanted |= {f"assets/pictograms/{name}.parquet" for name in ("real", "shift", "wild")}
    wanted |= {"assets/generator/model_index.json", "assets/generator/unet/diffusion_pytorch_model.safetensors"}
    wanted |= {"assets/clip/model.safetensors", "assets/clip/tokenizer.json"}
    assert {f"genrobust/{path}" for path in wanted} <= files


def test_the_licences_that_the_readme_names_go_along(builder: WheelBuilder, files: set[str]) -> None:
    licence = README.partition("\n## Licence\n")[2]
    linked = set(re.findall(r"\]\((?!http)([^)]+)\)", licence)) - {"pictograms/README.md"}  # how they were made
    assert "NOTICE" in linked and len(linked) >= 3
    for path in linked:
        assert path in builder.metadata.core.license_files or path.removeprefix("src/") in files
    assert set(builder.metadata.core.license_files) == {"LICENSE", "NOTICE"}
    assert licence.startswith(f"{builder.metadata.core.license_expression}. ")
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


@pytest.mark.slow
def test_the_wheel_runs_a_study_outside_the_repository(tmp_path: Path) -> None:
    """In a virtual environment of its own, which sees the present one's packages but not its genrobust."""
    pip = [sys.executable, "-m", "pip", "--quiet"]
    wheels, home = tmp_path / "wheels", tmp_path / "venv"
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(ROOT)], check=True
    )
    (wheel,) = wheels.iterdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], check=True)
    variables = {"base": str(home), "platbase": str(home)}
    own = Path(sysconfig.get_path("purelib", vars=variables))
    (own / "present.pth").write_text(sysconfig.get_path("purelib") + "\n")  # searched after the wheel's own folder

    licences = own / f"genrobust-{__version__}.dist-info" / "licenses"
    assert {path.name: path.read_bytes() for path in licences.iterdir()} == {
        name: (ROOT / name).read_bytes() for name in ("LICENSE", "NOTICE")
    }
    assert zipfile.ZipFile(wheel).testzip() is None
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    work = tmp_path / "elsewhere"
    work.mkdir()

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert Path(run(str(python), "-c", "import genrobust; print(genrobust.__file__)").strip()).is_relative_to(own)
    program = str(home / "bin" / "genrobust")
    assert run(program, "--version") == f"genrobust {metadata.version('genrobust')}\n"
    told = run(program, "run", "pictograms", "--quick").splitlines()
    report = work / "runs" / "pictograms-quick" / "report.html"
    assert str(report.relative_to(work)) in told
    assert "real+generated" in report.read_text(encoding="utf-8")
