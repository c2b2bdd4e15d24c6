"""Datasets that a real server draws, which fails, restarts and refuses."""

import json
import signal
import threading
import time
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
import yaml
from drawn import CPU, generate
from image_server import SHAPES, SIDE, Server, painted
from kill_and_resume import Call, contents, kill_and_resume
from PIL import Image
from refusals import refused
from served import LABELS, planned, run, section
from small_study import QUICK, REAL, folders_section, genrobust

from genrobust.core import GenrobustError, Request, UserError
from genrobust.generate import identity
from genrobust.generate.engines.openai import SEEDS, OpenAiEngine
from genrobust.recipe import GeneratorConfig, checked

SECRET = "sk-proj-1234567890abcdef"


def requests(count, prompt="a tree"):
    return [Request(f"k{i}", 3, "tree", prompt, "{}", "", "", 2**62 + i) for i in range(count)]


def engine(server, steps=4, **more):
    return OpenAiEngine(section(server.url, steps, **more), LABELS, None, CPU)


@pytest.mark.parametrize("images", [40, pytest.param(1000, marks=pytest.mark.thorough)])
def test_a_server_with_faults_draws_the_same_dataset(tmp_path, images):
    with Server() as server:
        run(str(tmp_path / "clean"), server.url, images)
    with Server(faults=0.2, slow=30) as server:
        run(str(tmp_path / "faulty"), server.url, images)
        fates = Counter(one["fate"] for one in server.seen())
    assert contents(tmp_path / "faulty") == contents(tmp_path / "clean")
    assert fates["ok"] >= images and len(fates) > 3
    dataset = run(str(tmp_path / "faulty"), "http://127.0.0.1:1", images)  # all of it is there: no server is asked
    assert len({row["image_sha256"] for row in dataset.metadata().to_pylist()}) == images


@pytest.mark.thorough
def test_a_kill_in_the_middle_changes_nothing(start, tmp_path):
    with Server(faults=0.1, kinds=("500", "429", "drop")) as server:
        call = Call("generate/served.py", "run", {"out": str(tmp_path / "out"), "url": server.url, "images": 400})
        kill_and_resume(start, call, tmp_path / "out", kills=4)


def test_a_server_that_restarts_goes_on(tmp_path):
    first = Server()
    with first:
        port, url = first.port, first.url
        drawing = threading.Thread(target=run, args=(str(tmp_path / "out"), url, 400))
        drawing.start()
        while drawing.is_alive() and len(first.seen()) < 100:
            time.sleep(0.005)
    with Server(port=port) as again:
        drawing.join()
        assert 0 < len(again.seen()) < 400, "what the first one answered is not asked again"
    assert len(run(str(tmp_path / "out"), url, 400)) == 400


def test_a_request_holds_what_the_recipe_says():
    with Server() as server:
        (image,) = engine(server, fields={"quality": "low"}).draw(requests(1))
        (body,) = server.seen()
    assert image.shape == (SIDE, SIDE, 3)
    assert body | {"seed": 2**62 % SEEDS, "size": "16x16", "num_inference_steps": 4, "guidance_scale": 3.0} == body
    assert (body["model"], body["prompt"], body["n"], body["quality"]) == ("painter", "a tree", 1, "low")
    assert body["response_format"] == "b64_json" and body["authorization"] == "Bearer no-key"
    # a server may guide only where there is a negative prompt, and send JPEGs to whoever asks for nothing else
    assert (body["negative_prompt"], body["output_format"]) == (" ", "png")


def test_images_come_in_the_order_of_their_requests():
    asked = [*requests(20), *requests(1, "a forbidden tree"), *requests(3, "a camera")]
    with Server(faults=0.3, kinds=("slow", "500"), slow=0.05) as server:
        drawn = engine(server).draw(asked)
    assert drawn[20] is None  # refused by the server's safety checker
    assert len({image.tobytes() for image in drawn[:20]}) == 20
    alone = {"model": "painter", "prompt": "a camera", "seed": (2**62 + 2) % SEEDS, "size": "16x16"}
    assert (drawn[23] == np.asarray(Image.open(BytesIO(painted(alone, 0))))).all()


def test_what_decides_the_images_is_their_identity():
    base = identity(section("http://a", concurrency=1))
    assert base == identity(section("https://b:8/v1/", key_variable="API_KEY", retries=1, max_images=7))
    assert (base["engine"], base["generator"], base["sends"][-1]) == ("openai", "painter", "size")
    others = [
        section("http://a", fields={"quality": "low"}),
        section("http://a", sends=["size", "num_inference_steps"]),
        section("http://a").model_copy(update={"model": "other"}),
        section("http://a").model_copy(update={"steps": 5}),
    ]
    assert len({json.dumps(identity(other), sort_keys=True) for other in [*others, section("http://a")]}) == 5
    local = section("http://a").model_copy(update={"model": "/models/painter"})
    assert identity(local) == base, "a dataset holds no path"


def test_no_output_holds_the_key(write_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PAINTER_API_KEY", SECRET)
    folders = {name: write_folder(name, name, 2, {"bell": "bell", "tree": "tree"}) for name in ("train", "test")}
    with Server(faults=0.2, kinds=("500",), key=SECRET) as server:
        generator = {
            "engine": "openai",
            "model": "painter",
            "server": {"url": server.url, "key_variable": "PAINTER_API_KEY"},
        }
        recipe = {**QUICK, "data": folders_section(folders), "generator": generator, "generate": {"per_class": 3}}
        (tmp_path / "small.yaml").write_text(yaml.safe_dump({**recipe, "arms": [REAL]}))
        said = genrobust("generate", tmp_path / "small.yaml", "--out", tmp_path / "runs")
        assert {one["authorization"] for one in server.seen()} == {f"Bearer {SECRET}"}
        export = genrobust(
            "export", *(tmp_path / "runs").glob("generated/*"), "--to", "imagefolder", "--out", tmp_path / "card"
        )
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in text for text in [*texts, str(said).encode(), str(export).encode()])


@pytest.mark.parametrize(
    ("options", "change", "kind", "named"),
    [
        ({}, {"url": "http://127.0.0.1:1"}, UserError, "server.url"),
        ({"key": SECRET}, {}, UserError, "server.key_variable"),
        ({}, {"key_variable": "ABSENT_API_KEY"}, UserError, "ABSENT_API_KEY"),
        ({"key": SECRET}, {"key_variable": "WRONG_API_KEY"}, UserError, "401.*WRONG_API_KEY"),
        ({"model": "other"}, {}, UserError, "404.*painter.*generator.model"),
        ({"takes": "size"}, {}, UserError, "400.*Unknown parameter.*server.sends"),
        ({"faults": 1, "kinds": "429-unpaid"}, {}, GenrobustError, "quota"),
        ({"faults": 1, "kinds": "500"}, {}, GenrobustError, "500"),
        ({"faults": 1, "kinds": "slow"}, {"timeout": 0.5, "retries": 1}, GenrobustError, "timed out"),
        ({"faults": 1, "kinds": "cut"}, {"retries": 1}, GenrobustError, "[Cc]onnection"),
        *(({"faults": 1, "kinds": kind}, {}, GenrobustError, "http://127") for kind in ("truncated", *SHAPES)),
        ({"faults": 1, "kinds": "wrong-size"}, {}, UserError, "32 x 16.*generator.width"),
        ({"faults": 1, "kinds": "no-json"}, {}, GenrobustError, "<html>a proxy"),
    ],
)
def test_what_does_not_work_is_explained(monkeypatch, options, change, kind, named):
    keys = {"WRONG_API_KEY": "sk-proj-abcdefabcdef"}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    kinds = (options.get("kinds", "500"),)
    with (
        Server(**{**options, "kinds": kinds}) as server,
        pytest.raises(GenrobustError, match=named) as raised,
    ):
        OpenAiEngine(section(**{"url": server.url, "retries": 2, **change}), LABELS, None, CPU).draw(requests(2))
    said = str(raised.value)
    assert type(raised.value) is kind
    assert not any(value in said for value in keys.values()) and "\x1b" not in said


def test_an_amount_beyond_the_bound_is_refused_before_a_request(tmp_path):
    with Server() as server:
        generator = section(server.url, max_images=39)
        plan, config = planned(generator, 40)
        with refused("server.max_images", 39):
            generate(plan, generator, config, tmp_path / "out")
        assert server.seen() == []


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, whatever another test or a library has made of it in this process."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_does_not_wait_for_the_server(interruptible):
    def interrupt():
        while not server.seen():
            time.sleep(0.005)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with Server(faults=1, kinds=("slow",), slow=300) as server:
        drawing = engine(server, timeout=300)
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            drawing.draw(requests(2))


def checked_section(server, **more):
    values = {"engine": "openai", "model": "m", "server": server, **more}
    return checked(GeneratorConfig, values, "generator")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://127.0.0.1:30000", "http://127.0.0.1:30000"),
        ("https://api.example.com/v1/", "https://api.example.com"),
        ("https://example.com/images/v1", "https://example.com/images"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
    ],
)
def test_the_address_may_end_as_servers_print_it(given, kept):
    assert checked_section({"url": given}).server.url == kept


@pytest.mark.parametrize(
    ("server", "more", "named"),
    [
        *(({"url": url}, {}, "server.url") for url in ("ftp://a", "localhost:80", "http://", "http://a b")),
        ({"url": f"http://me:{SECRET}@a"}, {}, "server.url"),
        ({"url": f"http://a?key={SECRET}"}, {}, "server.url"),
        ({"key_variable": SECRET}, {}, "server.key_variable"),
        ({"key_variable": "AWS_SECRET_ACCESS_KEY"}, {}, "server.key_variable"),
        ({"key": SECRET}, {}, "server.key"),
        ({"fields": {"prompt": "x"}}, {}, "fields.prompt"),
        ({"fields": {"size": "1x1"}}, {}, "fields.size"),
        ({"sends": ["size", "seed"]}, {"steps": 4}, "steps"),
        ({}, {"lora": "x"}, "mode labels"),
        ({}, {"width": 64}, "height"),
        ({}, {"engine": "diffusers"}, "engine openai"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_repeated(server, more, named):
    with pytest.raises(ValueError) as raised:
        checked_section({"url": "http://a", **server}, **more)
    assert named in str(raised.value) and SECRET not in str(raised.value)
