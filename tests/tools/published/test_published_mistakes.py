"""Published tables from anywhere: the models that have all accuracies, or an error that names file, line and column."""

import numpy as np
import pytest

from genrobust.core import UserError
from genrobust.robustness import score_published
from genrobust.tools.published.reading import choose_baselines, read_published

GOOD = "model,x,y\na,50,20\nb,60,30\nc,70,45\nd,80,50\n"


def read(tmp_path, text, *more, **how):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    return read_published(tmp_path / "t.csv", "x", "y", *more, **how)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD.replace(",", " , "),
        GOOD + "e,,70\nf,90,\ng,-,1\nh,NaN,2\ni,n/a,3\nj,\u2014,4\n",  # no accuracy
        GOOD + "k,90\n",  # a short row
        GOOD + ",90,50\n , 10, 20\n",  # no name
        GOOD.replace("50,20", "5e1,+20.0"),
        GOOD.replace(",", ";"),
        "\n".join(line.replace(",", f",{'c,' * 2000}", 1) for line in GOOD.splitlines()),
    ],
)
def test_the_models_with_both_accuracies_are_read(tmp_path, text):
    found = read(tmp_path, text)
    assert found.names == ("a", "b", "c", "d")
    assert found.clean.tolist() == [50, 60, 70, 80] and found.shifted.tolist() == [20, 30, 45, 50]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD + " a ,90,60\n", "model = 'a' stands in more than one row"),
        (GOOD + "e,101,60\n", "--id x: 101 .e. "),
        (GOOD + "e,1e999,60\n", "--id x: inf"),
        (GOOD + "e,76_1,60\n", "line 6: x is '76_1'"),
        (GOOD + "e,\u0667\u0666,60\n", "line 6: x is '\u0667\u0666'"),
        (GOOD + 'e,"76,1",60\n', "line 6: x is '76,1'.*decimal point"),
        ("model,x,y\n,50,20\n", "names no model"),
    ],
)  # others are in tests/report/test_published.py, by the command
def test_what_is_wrong_in_a_table_is_named(tmp_path, text, named):
    with pytest.raises(UserError, match=named):
        read(tmp_path, text)


def test_what_rounding_adds_is_cut_and_what_is_more_is_named(tmp_path):
    assert read(tmp_path, GOOD + "e,100.00001,-1e-9\n").clean[-1] == 100
    assert read(tmp_path, "model,x,y\na,1.0000001,.5\nb,.5,.2\n").clean[0] == 100
    with pytest.raises(UserError, match=r"100\.1 .e."):
        read(tmp_path, GOOD + "e,100.1,60\n")


@pytest.mark.parametrize("rows", [[("a", 50, 20)], [("a", 0, 20), ("b", 100, 30), ("c", 50, 0), ("d", 60, 20)]])
def test_models_that_have_no_line_are_refused(tmp_path, rows):
    models = read(tmp_path, "model,x,y\n" + "".join(f"{n},{x},{y}\n" for n, x, y in rows))
    with pytest.raises(UserError, match="there are 1"):
        score_published(models, choose_baselines(models)[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("50,20", "0.5,20"), "in 'x' are at most 1 (0.5 of a) and all others at least 60"),
        (("50,20", "50,0.2"), "in 'y' are at most 1 (0.2 of a) and all others at least 30"),
        (("50,20", "50,0.0"), None),
    ],
)
def test_fractions_among_percents_are_doubted(tmp_path, change, said):
    models = read(tmp_path, GOOD.replace(*change))
    doubts = score_published(models, np.ones(4, dtype=bool)).doubts
    assert any(said in doubt for doubt in doubts) if said else not any("fractions" in doubt for doubt in doubts)
