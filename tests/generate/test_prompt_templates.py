"""Sets of templates that come with the package, and prompts of the user's own, in a recipe or a file."""

import json
from collections import Counter

import pytest
from refusals import refused

from genrobust.core import ClassLabel, LabelSpace
from genrobust.generate import Plan
from genrobust.generate.prompt_templates import Template, class_templates, template_set, templates_of
from genrobust.recipe import GenerateConfig, PromptConfig

STYLES = ("outline", "solid", "duotone", "emoji", "illustration", "hand-drawn", "pixel")


@pytest.mark.parametrize(("name", "styles"), [("pictograms", dict.fromkeys(STYLES, 4)), ("openai", {"": 80})])
def test_the_sets_of_the_package(name, styles):
    templates = templates_of(PromptConfig(templates=name))
    assert templates == template_set(name)
    assert Counter(t.style for t in templates) == styles
    assert len({t.text for t in templates}) == len(templates)
    assert all(t.text.count("{}") == 1 for t in templates)


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        ("pictograms", Template("a line icon of a {}", "outline")),
        ("openai", Template("a photo of a {}.")),
        (("my {}",), Template("my {}")),
    ],
)
def test_single_is_one_template(templates, expected):
    assert templates_of(PromptConfig(strategy="single", templates=templates)) == (expected,)


@pytest.mark.parametrize("name", ["a {} b", '"quoted"', "50% {0} {name}", "crème brûlée", "\\1"])
def test_any_class_name_is_taken_literally(name):
    assert Template("a photo of a {}, drawn").fill(name) == f"a photo of a {name}, drawn"


@pytest.mark.parametrize(
    ("templates", "strategy", "named"),
    [
        (("a photo",), "diverse", "'a photo'"),
        (("{} and {}",), "diverse", "'{} and {}'"),
        (("a {name}",), "diverse", "'a {name}'"),
        ((), "diverse", "no template"),
        (("a {}", "b {}", "a {}"), "diverse", "'a {}'"),
        (("a {}", "b {}"), "single", "prompts.strategy"),
        ("imagenet", "diverse", "'imagenet'"),
        ("a photo of a {}", "diverse", "['a photo of a {}']"),
    ],
)
def test_unusable_templates_are_refused_by_name(templates, strategy, named):
    with refused("prompts.", named):
        templates_of(PromptConfig(strategy=strategy, templates=templates))


CLASSES = LabelSpace((ClassLabel("n01", "Crane", "crane bird"), ClassLabel("n02", 'the "{0}"', 'the "{}"')))


def plan(file, per_class=4):
    return plan_with(per_class, strategy="list", file=file)


def plan_with(per_class, **prompts):
    return Plan(CLASSES, GenerateConfig(per_class=per_class, prompts=PromptConfig(**prompts)), data_seed=0)


def prompts(plan):
    return {id: [r.prompt for r in plan if r.class_id == id] for id in CLASSES.ids}


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
    same = plan_with(4, templates=("a {} at night", "the {}, drawn"))
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


def test_a_key_that_names_two_classes_is_refused(write):
    """As CLIP's names call two classes of ImageNet "missile"."""
    alike = LabelSpace((ClassLabel("n1", "missile", "missile"), ClassLabel("n2", "missile", "missile")), True)
    with refused("prompts.json", "'missile'"):
        class_templates(PromptConfig(strategy="list", file=write({"missile": ["x"]})), alike)
    by_id = class_templates(PromptConfig(strategy="list", file=write({"n1": ["x"], "n2": ["y"]})), alike)
    assert [templates[0].text for templates in by_id] == ["x", "y"]


def test_a_smaller_plan_of_listed_prompts_is_a_prefix(write):
    file = write({"n01": [f"crane {i}" for i in range(5)], "n02": ["one", "two"]})
    small, large = prompts(plan(file, 3)), prompts(plan(file, 9))
    assert all(large[id][:3] == small[id] for id in CLASSES.ids)


def test_the_fingerprint_follows_the_prompts_and_not_the_place(write):
    one = plan(write({"n01": ["a"], "n02": ["b"]}, "one.json")).fingerprint
    assert plan(write({"n02": ["b"], "n01": ["a"]}, "other.json")).fingerprint == one
    assert plan(write({"n01": ["b"], "n02": ["a"]}, "one.json")).fingerprint != one


@pytest.mark.parametrize(
    ("content", "name", "named"),
    [
        ("a photo", "p.txt", ["'a photo'"]),
        ("a {} and a {}", "p.txt", ["'a {} and a {}'"]),
        ("a {}\na {}\n", "p.txt", ["'a {}'"]),
        ("\n \n", "p.txt", []),
        ("{", "p.json", ["prompts.file", "line 1 column 2"]),
        (["a"], "p.json", ["prompts.file"]),
        ({"n02": ["x"]}, "p.json", ["'Crane'", "'n01'"]),
        ({"n01": ["x"], "Crane": ["x"], "n02": ["x"]}, "p.json", ["'Crane'", "'n01'"]),
        ({"n01": "x", "n02": ["x"]}, "p.json", ["n01"]),
        ({"n01": [], "n02": ["x"]}, "p.json", ["n01"]),
        ({"n01": ["x", 3], "n02": ["x"]}, "p.json", ["n01.1"]),
        ({"n01": [" "], "n02": ["x"]}, "p.json", ["n01.0"]),
        ({"n01": ["a {}"], "n02": ["x"]}, "p.json", ["n01.0"]),
    ],
)
def test_unusable_files_are_refused_with_their_place(write, content, name, named):
    with refused(name, *named):
        plan(write(content, name))


def test_files_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "latin.txt").write_bytes("crème {}".encode("latin-1"))
    for path in (tmp_path / "nowhere.txt", tmp_path, tmp_path / "latin.txt"):
        with refused("prompts.file", path):
            plan(path)
