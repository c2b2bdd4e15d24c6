"""Prompts from a user's file."""

import json

import pytest

from genrobust.core import ClassLabel, LabelSpace, UserError
from genrobust.generate import Plan
from genrobust.recipe import PromptConfig

LABELS = LabelSpace((ClassLabel("n01", "Crane", "crane bird"), ClassLabel("n02", 'the "{0}"', 'the "{}"')))


def plan(file, per_class=4):
    return Plan(LABELS, PromptConfig(strategy="list", file=file), per_class, data_seed=0)


def prompts(plan):
    return {id: [r.prompt for r in plan if r.class_id == id] for id in LABELS.ids}


@pytest.fixture
def write(tmp_path):
    def make(content, name="prompts.json"):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return make


def test_a_text_file_holds_templates_for_all_classes(write):
    made = plan(write("\ufeffa {} at night\r\n\r\n  the {}, drawn \n", "templates.txt"))
    found = prompts(made)
    assert sorted(found["n01"]) == sorted(["a crane bird at night", "the crane bird, drawn"] * 2)
    assert sorted(set(found["n02"])) == ['a the "{}" at night', 'the the "{}", drawn']
    same = Plan(LABELS, PromptConfig(templates=("a {} at night", "the {}, drawn")), 4, data_seed=0)
    assert list(made) == list(same)
    assert made.fingerprint == same.fingerprint, "a recipe that lists the same templates asks for the same images"


def test_a_json_file_holds_full_prompts_by_class(write):
    cranes = ["a gray crane wading", "two cranes in flight", "a gray crane wading", "une grue"]
    made = plan(write({"n01": cranes, 'the "{0}"': ["100% {drawn} \\1"], "n99": ["not of this study"]}))
    found = prompts(made)
    assert sorted(found["n01"][:3]) == sorted(set(cranes)), "all before any comes again, and each counts once"
    assert found["n01"][3] == found["n01"][0]
    assert found["n02"] == ["100% {drawn} \\1"] * 4
    assert [(r.template, r.style) for r in made] == [(r.prompt, "") for r in made]


@pytest.mark.parametrize("key", ["n01", "Crane", "crane bird"])
def test_classes_are_found_by_id_name_or_prompt_name(write, key):
    assert set(prompts(plan(write({key: ["x"], "n02": ["y"]})))["n01"]) == {"x"}


def test_a_smaller_plan_of_listed_prompts_is_a_prefix(write):
    file = write({"n01": [f"crane {i}" for i in range(5)], "n02": ["one", "two"]})
    small, large = prompts(plan(file, 3)), prompts(plan(file, 9))
    assert all(large[id][:3] == small[id] for id in LABELS.ids)


def test_the_fingerprint_follows_the_prompts_and_not_the_place(write):
    one = plan(write({"n01": ["a"], "n02": ["b"]}, "one.json")).fingerprint
    assert plan(write({"n02": ["b"], "n01": ["a"]}, "other.json")).fingerprint == one
    assert plan(write({"n01": ["b"], "n02": ["a"]}, "one.json")).fingerprint != one


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("a photo", "p.txt", "'a photo' has 0 slots"),
        ("a {} and a {}", "p.txt", "has 2 slots"),
        ("a {}\na {}\n", "p.txt", "is listed twice"),
        ("\n \n", "p.txt", "lists no template"),
        ("{", "p.json", "cannot read prompts.file .*line 1 column 2"),
        (["a"], "p.json", "mapping"),
        ({"n02": ["x"]}, "p.json", r"'Crane' .*'n01'"),
        ({"n01": ["x"], "Crane": ["x"], "n02": ["x"]}, "p.json", "'Crane' and 'n01'"),
        ({"n01": "x", "n02": ["x"]}, "p.json", "'n01' "),
        ({"n01": [], "n02": ["x"]}, "p.json", "'n01' "),
        ({"n01": ["x", 3], "n02": ["x"]}, "p.json", "'n01' lists 3"),
        ({"n01": [" "], "n02": ["x"]}, "p.json", "'n01' lists ' '"),
        ({"n01": ["a {}"], "n02": ["x"]}, "p.json", "'n01' lists 'a {}'"),
    ],
)
def test_unusable_files_are_refused_with_their_place(write, content, name, message):
    with pytest.raises(UserError, match=message) as error:
        plan(write(content, name))
    assert name in str(error.value)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "latin.txt").write_bytes("crème {}".encode("latin-1"))
    for path in (tmp_path / "nowhere.txt", tmp_path, tmp_path / "latin.txt"):
        with pytest.raises(UserError, match=f"cannot read prompts.file {path}"):
            plan(path)
