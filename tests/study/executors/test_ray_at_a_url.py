"""A Ray cluster whose nodes share the bucket alone: each has a copy of its own."""

import pytest
import yaml
from kill_and_resume import contents
from small import NODE
from small_study import genrobust


@pytest.mark.thorough
def test_nodes_with_copies_of_their_own_make_what_one_machine_makes(
    cluster, start, recipe, store, tmp_path, monkeypatch
):
    settings = yaml.safe_load(recipe.read_text())
    settings["arms"].append({"name": "both", "mixture": [{"source": "real"}, {"source": "generated"}]})
    settings |= {"train": settings["train"] | {"steps": 5}, "execute": {"executor": "ray", "num_cpus": 2}}
    recipe.write_text(yaml.safe_dump(settings))
    start.to_end(["evaluate", str(recipe), "--executor", "local", "--out", str(tmp_path / "alone")])
    for name, value in {**store.environment, "GENROBUST_COPIES": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    of_nodes = [{**store.environment, "GENROBUST_COPIES": str(tmp_path / f"node {n}")} for n in (1, 2)]
    nodes = [cluster.add_node(num_cpus=2, env_vars=environment, **NODE) for environment in of_nodes]
    words = ["evaluate", str(recipe), "--out", "s3://bucket/runs", "--executor", "ray", "--address", cluster.address]
    try:
        genrobust(*words)
    finally:
        for node in nodes:
            cluster.remove_node(node)
        cluster.wait_for_nodes(timeout=60)
    assert store.contents() == contents(tmp_path / "alone")
    made = [{p.name for p in (tmp_path / f"node {n}").rglob("*.tar")} for n in (1, 2)]
    assert all(made), "both of them drew"
    assert list((tmp_path / "home").rglob("*.tar")) == [], "who reads no images fetches none"
