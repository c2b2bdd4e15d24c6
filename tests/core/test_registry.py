"""Registries: own members, those of installed packages, and what is said of a name that does not work."""

import sys

import pytest

from genrobust.core import Registry, UserError

GROUP = "genrobust.tests"


def shapes():
    registry = Registry("shape", GROUP)
    registry.register("square")(int)
    registry.register("circle")(float)
    return registry


def test_names_are_sorted_and_packages_load_when_asked_for(install):
    install(GROUP, "star_maker", "class Star: ...", star="star_maker:Star")
    registry = shapes()
    assert registry.names() == ["circle", "square", "star"]
    assert registry.get("circle") is float
    assert "star_maker" not in sys.modules
    assert registry.get("star").__name__ == "Star"


def test_a_registry_imports_the_modules_of_its_package_at_first_use(tmp_path, install):
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "__init__.py").write_text("from genrobust.core import Registry\n")
    (tmp_path / "shape_list.py").write_text(
        "from genrobust.core import Registry\nSHAPES = Registry('shape', package='shapes')\n"
    )
    for name in ("oval", "ring"):
        (tmp_path / "shapes" / f"{name}.py").write_text(
            f"from shape_list import SHAPES\n@SHAPES.register('{name}')\nclass Shape: ...\n"
        )
    from shape_list import SHAPES  # type: ignore[import-not-found]

    assert "shapes.ring" not in sys.modules
    assert SHAPES.names() == ["oval", "ring"]


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="square"):
        shapes().register("square")(str)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("sqare", ["'sqare'", "perhaps square", "circle, square"]),
        ("square", ["genrobust and first", "uninstall"]),
        ("moon", ["first and second", "uninstall"]),
        ("broken", ["missing_module", "second", "ModuleNotFoundError"]),
        ("absent", ["second:Absent", "AttributeError"]),
    ],
)
def test_a_name_that_does_not_work_says_why(install, asked, said):
    install(GROUP, "first", "class Moon: ...", square="first:Moon", moon="first:Moon")
    second = {"moon": "second:Moon", "broken": "missing_module:Moon", "absent": "second:Absent"}
    install(GROUP, "second", "class Moon: ...", **second)
    with pytest.raises(UserError) as caught:
        shapes().get(asked)
    assert all(words in str(caught.value) for words in said), caught.value
