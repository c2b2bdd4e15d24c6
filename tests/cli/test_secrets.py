"""No command shows the password or the token of a URL, whatever takes it: a parser, genrobust, or a library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from genrobust.store import Artifact, write_files

URLS = ("https://user:qqqzzz@host/x", "s3://KEY:qqq/zzz@none/x", "https://host/x?token=qqqzzz")
COMMANDS = (
    *("show {}", "run small.yaml --out {}", "tune small.yaml --budget 1s --out {}", "show {} --prompts 1", "report {}"),
    *("train small.yaml --set data.source={}", "evaluate small.yaml --models {}", "init --train {} --test {}"),
    *("audit {}", "audit made --test {}", "view {}", "view made --port {}", "verify {}", "audit {} --clip {}"),
    *("benchmark --models {} --on {}", "export {} --to parquet", "export {} --to timm", "predict {} images"),
    *(
        "predict resnet18 {} --out {}",
        "effective-robustness --id a --shift b {}",
        "show small.yaml --yaml --set title={}",
        "{}",
        "show small.yaml {}",
    ),
    *(
        "init --train images --test images --server {} --model x",
        "generate small.yaml --set generator.model={}",
    ),
)
RUN_ALL = """
import json, sys
from genrobust.cli import main
for words in json.load(sys.stdin):
    sys.argv = ["genrobust", "--debug", *words]
    try:
        main()
    except SystemExit:
        pass
"""


def test_no_command_shows_a_secret(recipe: Path, tmp_path: Path) -> None:
    for name in ("images", "made"):
        (tmp_path / name).mkdir()
    commands = [[word.replace("{}", url) for word in command.split()] for command in COMMANDS for url in URLS]
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps(commands),
        text=True,
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "20"},  # where boxes and tables break a URL
    )
    shown = done.stdout + done.stderr
    assert "Traceback" in shown and shown.count("***") > len(commands)
    assert [line for line in shown.splitlines() if "qqq" in line or "zzz" in line] == []
    names = [str(path) for path in tmp_path.rglob("*")]
    assert not [name for name in names if "qqq" in name]


@pytest.mark.parametrize("url", URLS)
def test_no_page_holds_a_secret(tmp_path: Path, url: str) -> None:
    write_files({"page.html": f"<code>genrobust tune x --out {url}</code>", "raw": b"\xff"}, tmp_path)
    assert all(b"qqq" not in path.read_bytes() for path in tmp_path.iterdir())
    assert not list(Artifact(tmp_path).damage())
