"""`genrobust effective-robustness`: small tables with known answers, published tables against scipy, bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from published_tables import TESTBED, TIMM, needs_tables, of_testbed, read
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import linregress
from typer.testing import CliRunner, Result

from genrobust.cli import app
from genrobust.tools.published.accuracy_table import read_published

TABLE = """model,img_size,val,sketch,"a:b",broken
resnet18,224,69.8,20.2,1.1,x
resnet34,224,73.3,23.0,1.9,
resnet50,224,76.1,24.1,0.0,
resnet101,224,77.4,27.0,4.7,
vgg16,224,71.6,18.0,2.6,
clip,224,63.3,42.0,,
vit,384,81.1,41.0,24.0,
"""
NAMES = ["resnet18", "resnet34", "resnet50", "resnet101", "vgg16", "clip", "vit"]
VAL = np.array([69.8, 73.3, 76.1, 77.4, 71.6, 63.3, 81.1])
SKETCH = np.array([20.2, 23.0, 24.1, 27.0, 18.0, 42.0, 41.0])
STANDARD = VAL[:5], SKETCH[:5]
SPACES = {"logit": (logit, expit), "probit": (ndtri, ndtr), "linear": (np.array, np.array)}


@pytest.fixture
def er(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Runs the command in a folder that holds TABLE as t.csv, and two files that name other models."""
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(TABLE)
    Path("other.csv").write_text("model,sketch\nResNet-18,20\nResNet-34,21\n")
    Path("others.txt").write_text("resnet-18\n")
    return lambda *words: CliRunner().invoke(app, ["effective-robustness", *(str(w) for w in words)])


@pytest.fixture
def figures(er: Callable[..., Result]) -> Callable[..., dict]:
    """Runs the command and returns what it writes."""

    def run(*words) -> dict:
        done = er(*words, "--json", "out.json", "--overwrite")
        assert done.exit_code == 0, done.output
        return json.loads(Path("out.json").read_text())

    return run


def by_hand(clean, shifted, baselines, transform="logit"):
    """The fit over the mask `baselines`, every model's effective robustness and its interval, with scipy alone."""
    forward, inverse = SPACES[transform]
    x, y = forward(clean[baselines] / 100), forward(shifted[baselines] / 100)
    fit = linregress(x, y)
    residuals = y - fit.intercept - fit.slope * x
    drawn = []
    for counts in np.random.default_rng(0).multinomial(len(x), np.full(len(x), 1 / len(x)), size=1000):
        picks = np.repeat(np.arange(len(x)), counts)
        if len(np.unique(x[picks])) > 1:
            design = np.column_stack([np.ones(len(picks)), x[picks]])
            intercept, slope = np.linalg.lstsq(design, y[picks], rcond=None)[0]
            drawn.append(shifted - 100 * inverse(intercept + slope * forward(clean / 100)))
    lo, hi = np.percentile(drawn, [2.5, 97.5], axis=0)
    line = {"slope": fit.slope, "intercept": fit.intercept, "r2": fit.rvalue**2, "n": len(x)}
    line["residual_sd"] = np.sqrt((residuals**2).sum() / (len(x) - 2))
    line |= {"transform": transform, "lo": clean[baselines].min(), "hi": clean[baselines].max()}
    er = shifted - 100 * inverse(fit.intercept + fit.slope * forward(clean / 100))
    return line, er, lo, hi


def assert_matches(found: dict, names, clean, shifted, baselines, transform="logit") -> None:
    line, er, lo, hi = by_hand(clean, shifted, baselines, transform)
    assert list(found) == ["fit", "models"] and isinstance(found["fit"]["n"], int)
    assert all(list(model) == ["id", "shift", "er", "lo", "hi", "extrapolated"] for model in found["models"].values())
    assert found["fit"].keys() == line.keys() and found["fit"].pop("transform") == line.pop("transform")
    assert found["fit"] == pytest.approx(line, abs=1e-6)
    assert list(found["models"]) == list(names)
    for key, values in {"id": clean, "shift": shifted, "er": er, "lo": lo, "hi": hi}.items():
        assert [m[key] for m in found["models"].values()] == pytest.approx(values.tolist(), abs=1e-6), key
    used = clean[baselines]
    outside = (clean < used.min()) | (clean > used.max())
    assert [m["extrapolated"] for m in found["models"].values()] == outside.tolist()


@pytest.mark.parametrize("transform", SPACES)
def test_figures_are_scipys(figures: Callable[..., dict], transform: str) -> None:
    found = figures("t.csv", "--id", "val", "--shift", "sketch", "--exclude", "clip|vit", "--transform", transform)
    assert_matches(found, NAMES, VAL, SKETCH, np.arange(7) < 5, transform)


def test_the_same_command_writes_the_same_bytes(figures: Callable[..., dict]) -> None:
    first = figures("t.csv", "--id", "val", "--shift", "sketch"), Path("out.json").read_bytes()
    assert (figures("t.csv", "--id", "val", "--shift", "sketch"), Path("out.json").read_bytes()) == first


def test_baselines_by_expression_by_file_and_by_exclusion_are_the_same(figures: Callable[..., dict]) -> None:
    words = ("t.csv", "--id", "val", "--shift", "sketch")
    Path("standard.txt").write_text("\n".join(NAMES[:5]) + "\n\n")
    found = figures(*words, "--baselines", "net|gg")  # searched for, not matched from the start
    assert found["fit"]["n"] == 5
    assert figures(*words, "--baselines", "standard.txt") == found
    assert figures(*words, "--exclude", "^(clip|vit)$") == found
    assert figures(*words, "--baselines", ".", "--exclude", "^(clip|vit)$") == found


def test_weak_models_are_left_out_of_the_line_and_scored(er: Callable[..., Result], figures) -> None:
    words = ("t.csv", "--id", "val", "--shift", "sketch", "--exclude", "clip|vit", "--min-id", 71.6)
    assert_matches(figures(*words), NAMES, VAL, SKETCH, np.array([False, *[True] * 4, False, False]))
    assert "1 model (resnet18)" in er(*words).output


def test_two_files_are_joined_on_the_key(figures: Callable[..., dict], er: Callable[..., Result]) -> None:
    rows = [line.split(",") for line in TABLE.splitlines()]
    Path("val.csv").write_text("\n".join(f"{r[1]},{r[0]},{r[2]}" for r in [*rows, ["lone", "224", "70"]]) + "\n")
    Path("shift.csv").write_text("\n".join(f"{r[0]},{r[3]},{r[1]}" for r in rows[:1] + rows[:0:-1]) + "\n")
    words = ("--id", "val.csv:val", "--shift", "shift.csv:sketch", "--key", "model,img_size", "--exclude", "clip|vit")
    named = [f"{name},{384 if name == 'vit' else 224}" for name in NAMES]
    assert_matches(figures(*words), named, VAL, SKETCH, np.arange(7) < 5)
    assert "1 row of val.csv" in er(*words).output
    beside = figures("t.csv", "--id", "val", *words[2:])  # one column of the table, one of a file
    assert beside == figures(*words)


def test_a_column_may_hold_a_colon(figures: Callable[..., dict]) -> None:
    found = figures("t.csv", "--id", "val", "--shift", "a:b", "--exclude", "vit")
    assert found == figures("--id", "t.csv:val", "--shift", "t.csv:a:b", "--exclude", "vit")
    assert found["models"]["vgg16"]["shift"] == 2.6


def test_fractions_are_read_as_fractions(figures: Callable[..., dict]) -> None:
    rows = [f"{n},{v / 100:.3f},{s / 100:.3f}" for n, v, s in zip(NAMES, VAL, SKETCH, strict=True)]
    Path("f.csv").write_text("\ufeffmodel,val,sketch\n" + "\n".join(rows), encoding="utf-8")
    found = figures("f.csv", "--id", "val", "--shift", "sketch")
    assert_matches(found, NAMES, VAL, SKETCH, np.ones(7, dtype=bool))


def test_what_has_no_accuracy_is_skipped_and_what_has_no_logit_is_left_out(er: Callable[..., Result], figures) -> None:
    words = ("t.csv", "--id", "val", "--shift", "a:b", "--exclude", "vit")
    found, said = figures(*words), er(*words).output
    assert "1 row of t.csv" in said
    assert "1 model (resnet50)" in said
    assert "clip" not in found["models"]
    assert found["fit"]["n"] == 4
    assert found["models"]["resnet50"]["er"] < 0
    assert figures(*words, "--transform", "linear")["fit"]["n"] == 5


def test_the_terminal_shows_the_fit_and_the_models_by_effective_robustness(er: Callable[..., Result]) -> None:
    done = er("t.csv", "--id", "val", "--shift", "sketch", "--exclude", "clip|vit")
    assert done.stdout.startswith("logit(shift) = ")
    assert all(text in done.stdout for text in ("5 baselines", "69.8 to 77.4 %"))
    lines = [line.split() for line in done.stdout.splitlines() if line.split() and line.split()[0] in NAMES]
    shown = {words[0]: (float(words[3]), words[-1] == "extrapolated") for words in lines}
    assert [value for value, _ in shown.values()] == sorted((v for v, _ in shown.values()), reverse=True)
    assert [name for name, (_, flagged) in shown.items() if flagged] == ["clip", "vit"]
    assert len(shown) == len(NAMES)


def test_names_with_brackets_are_shown_as_they_are(er: Callable[..., Result]) -> None:
    Path("t.csv").write_text("model,x,[y]\n[red]a[/],50,20\nb,60,28\nc,70,33\nd,80,50\n")
    done = er("t.csv", "--id", "x", "--shift", "[y]", "--json", "new/out.json")
    assert "[red]a[/]" in done.stdout
    assert "on [y], points" in done.stdout
    assert "[red]a[/]" in json.loads(Path("new/out.json").read_text())["models"]


def test_the_table_is_not_overwritten_whatever_its_columns_are_called(er: Callable[..., Result]) -> None:
    before = "model,acc:x,acc:y\na,50,20\nb,60,28\nc,70,33\nd,80,50\n"
    Path("t.csv").write_text(before)
    done = er("--id", "t.csv:acc:x", "--shift", "t.csv:acc:y", "--json", "t.csv")
    assert done.exit_code == 2 and "t.csv" in done.output
    assert Path("t.csv").read_text() == before


def test_of_many_models_the_terminal_shows_either_end(er: Callable[..., Result]) -> None:
    rows = [f"m{i:03},{40 + i / 2},{20 + (i * 7 % 100) / 3}" for i in range(100)]
    Path("many.csv").write_text("model,x,y\n" + "\n".join(rows))
    done = er("many.csv", "--id", "x", "--shift", "y")
    assert "25 of 100 models" in done.stdout
    assert sum(line.strip().startswith("m0") for line in done.stdout.splitlines()) == 25


WORDS = ("t.csv", "--id", "val", "--shift", "sketch")
GOOD = "model,x,y\na,50,20\nb,60,30\nc,70,45\nd,80,50\n"


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD + "e,,70\nf,90,\ng,-,1\nh,NaN,2\ni,n/a,3\nj,\u2014,4\n",  # no accuracy
        GOOD + "k,90\n",  # a short row
        GOOD + ",90,50\n , 10, 20\n",  # no name
        GOOD.replace("50,20", "5e1,+20.0"),
        "\n".join(line.replace(",", f",{'c,' * 2000}", 1) for line in GOOD.splitlines()),
    ],
)
def test_the_models_with_both_accuracies_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    found = read_published(tmp_path / "t.csv", "x", "y")
    assert found.names == ("a", "b", "c", "d")
    assert found.clean.tolist() == [50, 60, 70, 80] and found.shifted.tolist() == [20, 30, 45, 50]


def test_what_rounding_adds_is_cut(tmp_path: Path) -> None:
    for text in (GOOD + "e,100.00001,-1e-9\n", "model,x,y\ne,1.0000001,.5\nb,.5,.2\n"):
        (tmp_path / "t.csv").write_text(text)
        models = read_published(tmp_path / "t.csv", "x", "y")
        assert models.clean[models.names.index("e")] == 100


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("t.csv", "--id", "vall", "--shift", "sketch"), "--id: t.csv has no column 'vall'"),
        (("t.csv", "--id", "val", "--shift", "Sketchy"), "no column 'Sketchy'"),
        (("t.csv", "--id", "val", "--shift", "zzzz"), "model, img_size, val, sketch"),
        (("no.csv", "--id", "val", "--shift", "sketch"), "no.csv"),
        (("--id", "no.csv:val", "--shift", "t.csv:sketch"), "--id: "),
        (("t.csv", "--id", "c:d", "--shift", "sketch"), "no column 'c:d'"),
        (("--id", "val", "--shift", "t.csv:sketch"), "--id val: "),
        ((*WORDS, "--key", "model,size"), "--key: t.csv has no column 'size'"),
        ((*WORDS, "--key", "img_size"), "img_size = '224'"),
        (("t.csv", "--id", "val", "--shift", "broken"), "t.csv, line 2: broken"),
        (("t.csv", "--id", "val", "--shift", "img_size"), "224 (resnet18)"),
        (("t.csv", "--id", "val", "--shift", "t.csv:val"), "--id and --shift"),
        ((*WORDS, "--baselines", "x" * 5000), "none of the 7 models"),
        ((*WORDS, "--transform", "log"), "logit, probit, linear"),
        ((*WORDS, "--baselines", "resnet(18|34)"), "three models or more"),
        ((*WORDS, "--min-id", "77"), "of these 2 models 2"),
        ((*WORDS, "--baselines", "(resnet"), "'(resnet'"),
        ((*WORDS, "--baselines", "alexnet"), "'resnet18'"),
        ((*WORDS, "--exclude", "alexnet"), "--exclude: 'alexnet'"),
        ((*WORDS, "--json", "t.csv"), "t.csv"),
        (("--id", "val"), "Missing option '--shift'"),
        ((*WORDS, "--baselines", "others.txt"), "others.txt"),
        (("t.csv", "--id", "val", "--shift", "other.csv:sketch"), "other.csv"),
    ],
)
def test_a_mistake_is_named_and_ends_with_2(er: Callable[..., Result], words: tuple, message: str) -> None:
    done = er(*words)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv: no rows"),
        ("model,x,y\n", "t.csv: no rows"),
        ("model,x,x,y\na,50,40,30\n", "2 columns named 'x'"),
        ("model,x,y\na,,20\nb,60,\n", "'x' and 'y'"),
        ("model,x,y\na,50,-10.2\nb,60,30\n", "--shift y: -10.2 (a)"),
        ("model,x,y\na,50,inf\nb,60,30\n", "inf (a) is no accuracy"),
        ("model,x,y\na,50%,20%\n", "line 2: x is '50%'"),
        ("model,x,y\n\udcff,1,2\n", "cannot read t.csv"),
        ("model,x,y\n,50,20\n", "names no model"),
        (GOOD + " a ,90,60\n", "model = 'a' is in more than one row"),
        (GOOD + "e,101,60\n", "--id x: 101 (e)"),
        (GOOD + "e,100.1,60\n", "100.1 (e)"),
        (GOOD + "e,1e999,60\n", "--id x: inf"),
        (GOOD + "e,76_1,60\n", "line 6: x is '76_1'"),
        (GOOD + "e,\u0667\u0666,60\n", "line 6: x is '\u0667\u0666'"),
        (GOOD + 'e,"76,1",60\n', "decimal point"),
    ],
)
def test_a_bad_table_is_named_and_an_old_result_stays(er: Callable[..., Result], text: str, message: str) -> None:
    Path("t.csv").write_text(text, "utf-8", "surrogateescape")
    Path("out.json").write_text("an older result")
    before = sorted(Path().iterdir())
    done = er("t.csv", "--id", "x", "--shift", "y", "--json", "out.json")
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert Path("out.json").read_text() == "an older result"
    assert sorted(Path().iterdir()) == before


def test_baselines_that_are_not_in_the_table_are_told(er: Callable[..., Result]) -> None:
    Path("some.txt").write_text("resnet18\nresnet34\nresnet50\nalexnet\n")
    assert "some.txt: 1 name (alexnet)" in er(*WORDS, "--baselines", "some.txt").output


def test_a_column_of_very_small_accuracies_beside_percents_is_told(er: Callable[..., Result], figures) -> None:
    Path("small.csv").write_text("model,x,y\na,50,0.2\nb,60,0.3\nc,70,0.5\n")
    found = figures("small.csv", "--id", "x", "--shift", "y")
    assert found["models"]["b"]["shift"] == 0.3
    assert "no accuracy in 'y'" in er("small.csv", "--id", "x", "--shift", "y").stderr


def test_fractions_among_percents_are_warned_of(er: Callable[..., Result]) -> None:
    for change, said in (
        ("0.5,20", "in 'x' are at most 1 (0.5 of a) and all others at least 60"),
        ("50,0.2", "in 'y' are at most 1 (0.2 of a) and all others at least 30"),
        ("50,0.0", ""),
    ):
        Path("t.csv").write_text(GOOD.replace("50,20", change))
        stderr = er("t.csv", "--id", "x", "--shift", "y").stderr
        assert said in stderr if said else "fractions" not in stderr


def test_swapped_or_unrelated_columns_are_warned_of_and_scored(er: Callable[..., Result]) -> None:
    done = er("t.csv", "--id", "sketch", "--shift", "val")
    assert done.exit_code == 0
    assert "warning: 7 of 7" in done.stderr
    assert "warning" not in er(*WORDS, "--exclude", "clip").output
    Path("t.csv").write_text("model,x,y\na,50,30\nb,60,20\nc,70,31\nd,80,19\n")
    assert "swapped or unrelated" in er("t.csv", "--id", "x", "--shift", "y").stderr


def test_nothing_heavier_than_numpy_and_scipys_functions_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    tell = "atexit.register(lambda: print(json.dumps(list(sys.modules)), file=sys.stderr))"
    script = f"import atexit, json, sys; {tell}; sys.argv[0] = 'genrobust'; import genrobust.cli; genrobust.cli.main()"
    command = [sys.executable, "-c", script, "effective-robustness", *WORDS, "--exclude", "clip"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "scipy.special" in loaded
    assert loaded & {"torch", "timm", "diffusers", "pandas", "scipy.stats", "matplotlib"} == set()


@needs_tables
@pytest.mark.parametrize(
    ("clean", "shift", "transform"),
    [
        ("val", "imagenetv2-matched-frequency-format-val", "logit"),
        ("val", "imagenet-sketch", "probit"),
        ("val-on-imagenet-r-classes", "imagenet-r", "logit"),
        ("val-on-objectnet-classes", "objectnet-1.0-beta", "linear"),
    ],
)
def test_the_testbeds_standard_models_make_scipys_line(figures, clean, shift, transform) -> None:
    names, x, y, baselines = of_testbed(clean, shift)
    Path("standard.txt").write_text("\n".join(np.array(names)[baselines]))
    words = ("--baselines", "standard.txt", "--transform", transform)
    found = figures(TESTBED / "robustness_top1s.csv", "--id", clean, "--shift", shift, *words)
    assert 80 <= baselines.sum() <= 85
    assert_matches(found, names, x, y, baselines, transform)


@needs_tables
@pytest.mark.parametrize("shift", ["imagenet-r", "imagenet-a"])
def test_timms_results_are_joined_with_the_class_matched_clean_set(figures, shift: str) -> None:
    """The line is over what was trained on ImageNet-1k alone, by timm's naming; names are model,img_size."""
    sides = [f"{TIMM}/results-{shift}-clean.csv:top1", f"{TIMM}/results-{shift}.csv:top1"]
    words = ("--key", "model,img_size", "--baselines", r"_in1k,\d+$", "--exclude", "_in2[12]k|clip|ig1b|dist|yfcc|swag")
    found = figures("--id", sides[0], "--shift", sides[1], *words, "--min-id", 85)
    top1 = [
        {f"{r['model']},{r['img_size']}": float(r["top1"]) for r in read(TIMM / f"results-{shift}{end}.csv")}
        for end in ("-clean", "")
    ]
    names = [name for name in top1[0] if name in top1[1]]
    assert len(names) > 1500
    x, y = (np.array([values[name] for name in names]) for values in top1)
    excluded = ("_in21k", "_in22k", "clip", "ig1b", "dist", "yfcc", "swag")
    baselines = np.array(["_in1k," in n and not any(part in n for part in excluded) for n in names])
    fitted = np.flatnonzero(baselines & (x >= 85))
    first = np.unique(np.column_stack([x, y])[fitted], axis=0, return_index=True)[1]  # the others are copies
    assert_matches(found, names, x, y, np.isin(np.arange(len(names)), fitted[first]))
