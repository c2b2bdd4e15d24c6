"""Sets of templates that come with the package, and the user's own."""

from collections import Counter

import pytest

from genrobust.core import UserError
from genrobust.generate.templates import Template, template_set, templates_of
from genrobust.recipe import PromptConfig

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


def test_own_templates_keep_their_order():
    texts = ("a {} at night", "the {}")
    assert [t.text for t in templates_of(PromptConfig(templates=texts))] == list(texts)


@pytest.mark.parametrize("name", ["a {} b", '"quoted"', "50% {0} {name}", "crème brûlée", "\\1"])
def test_any_class_name_is_taken_literally(name):
    assert Template("a photo of a {}, drawn").fill(name) == f"a photo of a {name}, drawn"


@pytest.mark.parametrize(
    ("templates", "strategy", "message"),
    [
        (("a photo",), "diverse", "'a photo' has 0 slots"),
        (("{} and {}",), "diverse", "'{} and {}' has 2 slots"),
        (("a {name}",), "diverse", "'a {name}' has 0 slots"),
        ((), "diverse", "lists no template"),
        (("a {}", "b {}", "a {}"), "diverse", "'a {}' is listed twice"),
        (("a {}", "b {}"), "single", "lists 2"),
        ("imagenet", "diverse", "no set 'imagenet'"),
        ("a photo of a {}", "diverse", r"\['a photo of a {}'\]"),
    ],
)
def test_unusable_templates_are_refused_by_name(templates, strategy, message):
    with pytest.raises(UserError, match=message):
        templates_of(PromptConfig(strategy=strategy, templates=templates))
