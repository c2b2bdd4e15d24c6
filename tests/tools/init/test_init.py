"""init on real images: what it finds, what it refuses, and that the recipe it writes is accepted as it is."""

import re
import shlex
import shutil

import pytest
from image_server import SIDE, Server
from PIL import Image
from small_study import SHORT, genrobust, proposed

from genrobust.core import UserError
from genrobust.data import load_data
from genrobust.recipe import GeneratorConfig, load_recipe
from genrobust.study import Study
from genrobust.study.estimates import Rates
from genrobust.study.stages.generate import generation_cost
from genrobust.tools.init import writing as init
from genrobust.tools.init.folders import SHIFT, UserFolders, name_folders
from genrobust.tools.init.writing import study_name, write_recipe

CLASSES = {"airplane": "airplane", "Alarm_Clock": "bell", "camera": "camera"}  # folder: what its images show


@pytest.fixture
def folders(write_folder):
    """Three training classes; a shift that spells one otherwise and lacks another."""
    train = write_folder("train", "train", 8, CLASSES)
    test = write_folder("test", "test", 3, CLASSES)
    solid = write_folder("solid", "solid", 4, {"airplane": "airplane", "alarm-clock": "bell"})
    return {"train": train, "test": test, "shift solid": solid}


def domains(root, real=None):
    return name_folders(root, {}, [], print, real)


def written(folders, tmp_path, **options):
    """The recipe's text, and the lines that were said."""
    lines, recipe = [], tmp_path / "study.yaml"
    named = folders if isinstance(folders, UserFolders) else UserFolders(folders)
    words = ["genrobust", "init"]
    for role, place in named.places.items():
        words += ["--shift", f"{role.removeprefix(SHIFT)}={place}"] if SHIFT in role else [f"--{role}", str(place)]
    words += [*([] if named.real is None else ["--real", named.real]), "--recipe", str(recipe)]
    write_recipe(named, recipe, tmp_path / "runs", lambda *more: shlex.join([*words, *more]), lines.append, **options)
    return recipe.read_text(), [str(line) for line in lines]


def loaded(tmp_path, overrides=(), quick=False):
    return load_recipe(str(tmp_path / "study.yaml"), overrides, quick)


def test_the_recipe_is_accepted_and_reads_the_images(folders, tmp_path):
    written(folders, tmp_path)
    recipe = loaded(tmp_path)
    data = load_data(recipe.data)
    assert data.labels.names == ("Alarm Clock", "airplane", "camera")
    assert list(data.tests) == ["test", "solid"]
    assert sorted(set(data.tests["solid"].labels)) == [0, 1]
    assert recipe.train.image_size == 64
    assert len(recipe.seeds) == 3
    quick = loaded(tmp_path, quick=True)
    assert (quick.train.steps, quick.seeds) == (recipe.train.steps, (0,))  # few images: it trains as long


def test_a_published_set_of_domains_is_recognized(write_folder, tmp_path):
    for domain, images in (("photo", "train"), ("art_painting", "emoji"), ("cartoon", "duotone"), ("sketch", "solid")):
        root = write_folder(f"unpacked/PACS/kfold/{domain}", images, 8, CLASSES).parents[2]
    folders = domains(root)
    said = "\n".join(written(folders, tmp_path)[1])
    assert "train: " in said and "shift sketch: " in said and "init --train" in said
    recipe = loaded(tmp_path)
    data = load_data(recipe.data)
    assert recipe.data.source == "pacs" and recipe.answer == "real+retrieved"
    assert (data.clean, data.shifts) == ("photo", ("art_painting", "cartoon", "sketch"))
    with pytest.raises(UserError, match="is the set pacs"):
        name_folders(root, {"test": root}, [], print)
    assert loaded(tmp_path).data.real is None
    cartoons = domains(root, "cartoon")
    assert written(cartoons, tmp_path, overwrite=True) and loaded(tmp_path).data.real == "cartoon"
    with pytest.raises(UserError, match="add --test DIR"):
        domains(root / "PACS" / "kfold" / "photo")


def test_domains_of_ones_own_are_named_and_one_is_chosen(write_folder, tmp_path):
    root = write_folder("drawings/ink", "train", 8, CLASSES).parent
    write_folder("drawings/oil", "solid", 8, CLASSES)
    with pytest.raises(UserError, match="--real DOMAIN if these are domains: ink, oil"):
        domains(root)
    said = "\n".join(written(domains(root, "oil"), tmp_path)[1])
    assert "shift ink: " in said and "--real oil" in said
    recipe = loaded(tmp_path)
    data = load_data(recipe.data)
    assert (recipe.data.source, data.clean, data.shifts) == ("domains", "oil", ("ink",))
    with pytest.raises(UserError, match=r"data.real: no domain 'lead'"):
        written(domains(root, "lead"), tmp_path, overwrite=True)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_generator_of_ones_own_learns_the_domains(write_folder, tmp_path, monkeypatch, device):
    monkeypatch.setattr(init, "available_devices", lambda: [device])
    root = write_folder("drawings/ink", "train", 8, CLASSES).parent
    write_folder("drawings/oil", "solid", 8, CLASSES)
    folders = domains(root, "oil")
    said = "\n".join(written(folders, tmp_path)[1])
    assert ("--own-generator --overwrite" in said) == (device == "cpu")
    text, _ = written(folders, tmp_path, own_generator=True, overwrite=True)
    recipe = loaded(tmp_path)
    assert (recipe.class_model.images, recipe.answer) == ("pool", "real+generated")
    assert (recipe.class_model.components is None) == ("width: 256  # px" in text) == (device == "cuda")
    assert loaded(tmp_path, quick=True).class_model.steps < recipe.class_model.steps
    if device == "cpu":
        study = Study(recipe, tmp_path / "runs")
        (drawn,) = [row for row in study.rows() if row.stage.name == "generate"]
        per_class = (len(study.data.train) + len(study.data.retrieval)) / len(CLASSES)
        assert drawn.total == len(CLASSES) * max(10, round(per_class))


def test_a_generator_of_ones_own_needs_other_styles(folders, tmp_path):
    with pytest.raises(UserError, match=r"--own-generator: .*--retrieved DIR"):
        written(folders, tmp_path, own_generator=True)
    words = ("--train", "x", "--own-generator", "--generated", "y")
    genrobust("init", *words, code=2, said="--generated and --own-generator")


def test_what_was_found_is_told(folders, tmp_path):
    said = "\n".join(written(folders, tmp_path)[1])
    assert "train: 24 images of 3 classes (8 of each)" in said
    assert "shift solid: 8 images of 2 classes (4 of each); lacks camera" in said
    assert "alarm-clock is Alarm_Clock" in said
    assert "val: none" in said
    assert "no baseline line" in said


def test_files_that_sets_share_are_told_at_once(folders, tmp_path):
    shutil.copy(next((folders["train"] / "camera").iterdir()), folders["test"] / "camera" / "leak.png")
    (said,) = [line for line in written(folders, tmp_path)[1] if "of the 21 images of train" in line]
    assert "of test images (2 of test; 1 near copies), left out" in said
    again = shutil.copytree(folders["test"], tmp_path / "again")
    lines = written({**folders, "shift again": again}, tmp_path, overwrite=True)[1]
    assert any("every image of again is a copy of one of test" in line for line in lines)


def test_a_folder_that_means_no_class_is_left_to_the_user(folders, write_folder, tmp_path):
    odd = write_folder("odd", "solid", 2, {"camra": "camera", "x: [y] # 'z'": "bell", "airplane": "airplane"})
    text, lines = written({"train": folders["train"], "test": folders["test"], "shift odd": odd}, tmp_path)
    recipe = loaded(tmp_path)
    assert recipe.data.same_class == {"camra": "?", "x: [y] # 'z'": "?"}
    assert 'camra: "?"  # perhaps camera' in text
    assert any("'camra' (perhaps camera?)" in line and "data.same_class" in line for line in lines)
    with pytest.raises(UserError, match=r"camra: .*camera"):
        load_data(recipe.data)
    filled = loaded(tmp_path, ["data.same_class={camra: camera, \"x: [y] # 'z'\": ''}"])
    assert len(load_data(filled.data).tests["odd"]) == 4


ODD = ("a: b", "- x", "#tag", "{}", "yes", "null", "1.5", "ключ 鍵", "it's", '"q"', "?")


@pytest.mark.parametrize("name", ODD)
def test_any_folder_name_makes_a_recipe_that_reads(name, write_folder, tmp_path):
    classes = {name: "airplane", "camera": "camera"}
    train, test = write_folder("train", "train", 4, classes), write_folder("test", "test", 2, classes)
    shift = name.replace("\n", " ")  # that of a test set is one line
    written({"train": train, "test": test, SHIFT + shift: write_folder("solid", "solid", 2, classes)}, tmp_path)
    data = load_data(loaded(tmp_path).data)
    assert list(data.tests) == ["test", shift]
    assert len(data.labels) == 2


def test_broken_images_are_named(folders, tmp_path):
    (folders["train"] / "camera" / "text.jpg").write_text("no image")
    (folders["test"] / "camera" / "cut.png").write_bytes(b"\x89PNG")
    _, lines = written(folders, tmp_path)
    named = [line.split(": ")[0].rsplit("/", 1)[1] for line in lines if "cannot read" in line]
    assert named == ["text.jpg", "cut.png"]
    assert any("2 broken images" in line for line in lines)
    unchecked = written(folders, tmp_path, check=False, overwrite=True)[1]
    assert not any("cannot read" in line for line in unchecked)


def test_dark_images_are_counted_and_their_folder_named(folders, tmp_path):
    for path in (folders["train"] / "camera").iterdir():
        Image.new("L", (16, 16), 9).save(path)
    dark = [line for line in written(folders, tmp_path)[1] if "nearly black" in line]
    assert len(dark) == 1 and f"train, {folders['train']}: of 24 sampled images, 8 " in dark[0]


def test_a_table_is_a_set_like_any_other(folders, tmp_path):
    """With a label that no class has, and an image that cannot be read."""
    files = [path.relative_to(tmp_path) for path in sorted(folders["shift solid"].rglob("*.png"))]
    rows = [f"{path},{path.parent.name},c{i % 2}" for i, path in enumerate(files)]
    (tmp_path / "broken.jpg").write_text("no image")
    rows += ["broken.jpg,airplane,c0", f"{files[0].with_name('other.png')},lamp,c1"]
    (tmp_path / files[0].with_name("other.png")).write_bytes((tmp_path / files[0]).read_bytes())
    (tmp_path / "phone.csv").write_text("\n".join(["path,label,camera", *rows]) + "\n")
    _, lines = written(
        {"train": folders["train"], "test": folders["test"], "shift phone": tmp_path / "phone.csv"}, tmp_path
    )
    assert "shift phone: 9 images of 2 classes (4 to 5 of each); lacks camera" in lines
    assert any("'lamp'" in line for line in lines)
    assert [line for line in lines if "cannot read the image" in line and "broken.jpg" in line]
    data = load_data(loaded(tmp_path, ["data.same_class={lamp: ''}", "data.groups={phone: {column: camera}}"]).data)
    assert set(data.tests["phone"].groups) == {"c0", "c1"}


def test_a_table_may_hold_all_images_and_numbers_get_a_hint(folders, tmp_path):
    numbers = {name: str(number) for number, name in enumerate(sorted(CLASSES))}
    for name in ("train", "test"):
        files = sorted((tmp_path / name).rglob("*.png"))
        rows = [f"{path.relative_to(tmp_path)},{numbers[path.parent.name]}" for path in files]
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    named = {"train": tmp_path / "train.csv", "test": tmp_path / "test.csv"}
    _, lines = written(named, tmp_path)
    assert "train: 24 images of 3 classes (8 of each)" in lines
    assert any("classes are called by numbers" in line for line in lines)
    assert load_data(loaded(tmp_path).data).labels.ids == ("0", "1", "2")


def test_given_generated_and_retrieved_images_become_arms(folders, write_folder, tmp_path):
    generated = write_folder("made", "emoji", 2, CLASSES)
    retrieved = write_folder("found", "duotone", 2, {"camera": "camera"})
    _, lines = written({**folders, "generated": generated, "retrieved": retrieved}, tmp_path)
    recipe = loaded(tmp_path)
    names = " ".join(arm.name for arm in recipe.arms)
    assert names == "real real+randaugment generated real+generated real+retrieved"
    assert recipe.generator is None
    assert (recipe.data.generated, recipe.data.retrieved.path) == (generated, retrieved)
    assert any("real+retrieved" in line for line in lines)
    assert not any("to generate" in line.lower() for line in lines)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(init, "available_devices", lambda: ["cpu"])


def commands(lines):
    """The words of each command that was said on a line of its own, without `genrobust`."""
    return proposed("\n".join(line for line in lines if line.strip().startswith("genrobust ")))


def run_command(words, **changed):
    """Run a command that was said, with words in the place of others."""
    return genrobust(*(changed.get(word, word) for word in words)).output


@pytest.mark.parametrize("retrieved", [None, CLASSES, {"ink": "camera", "oil": "bell"}])
def test_every_command_that_it_proposes_is_one(retrieved, folders, write_folder, tmp_path, timm_folders, no_gpu):
    """Also where the folders to retrieve from are no classes, from which a generator cannot learn."""
    named = {"train": folders["train"], "test": folders["test"], "shift it's (new)": folders["shift solid"]}
    if retrieved is not None:
        named["retrieved"] = found = write_folder("found", "duotone", 2, retrieved)
    _, lines = written(named, tmp_path)
    words = commands(lines)
    assert any("--own-generator" in of for of in words) == (retrieved is CLASSES)
    assert {of[0] for of in words} == {"init", "generate", "run", "predict"}
    made = write_folder("made", "emoji", 2, CLASSES)
    for of in words:
        if of[0] == "init":
            run_command([*of, "--no-check"], **{init.PROPOSED: timm_folders["resnet"], "DIR": made, "FOLDER": made})
            loaded(tmp_path)
        else:
            load_recipe(of[1].partition(":")[0], (), "--quick" in of)
    if retrieved not in (None, CLASSES):
        more = ["--own-generator", "--no-check", "--overwrite"]
        init_words = next(of for of in words if of[0] == "init" and "--generated" in of)
        genrobust(*init_words[: init_words.index("--generated")], *more, code=2, said=f"--retrieved {found}")


def test_without_a_generator_a_study_asks_about_the_arms_that_it_has(folders, write_folder, tmp_path, no_gpu):
    _, lines = written(folders, tmp_path)
    recipe = loaded(tmp_path)
    assert [arm.name for arm in recipe.arms] == ["real", "real+randaugment"]
    assert recipe.answer == "real+randaugment"
    assert "generated" not in recipe.title + recipe.question
    assert any("another machine with a GPU" in line for line in lines)
    given = {**folders, "retrieved": write_folder("found", "duotone", 2, CLASSES)}
    written(given, tmp_path, overwrite=True)
    recipe = loaded(tmp_path)
    assert (recipe.answer, "retrieved" in recipe.title) == ("real+retrieved", True)
    assert "generated" not in recipe.title + recipe.question


def test_uncommented_arms_of_given_images_are_a_recipe(folders, write_folder, tmp_path, no_gpu):
    text, _ = written(folders, tmp_path)
    made = write_folder("made", "emoji", 2, CLASSES)
    text = re.sub(r"^  # generated: DIR", f"  generated: {made}", text, flags=re.MULTILINE)
    (tmp_path / "study.yaml").write_text(re.sub(r"^  # - \{", "  - {", text, flags=re.MULTILINE))
    recipe = loaded(tmp_path)
    assert recipe.sources() == {"real", "generated"}
    assert len(Study(recipe, tmp_path / "runs").images("generated")) == 6


def trained_on(tmp_path, arm):
    """The number of images of each source that an arm of the recipe trains on, in two steps."""
    sets = [f"{key}={value}" for key, value in (pair.split("=", 1) for pair in SHORT.split()) if "generator" not in key]
    recipe = loaded(tmp_path, [*sets, "train.steps=2"])
    study = Study(recipe, tmp_path / "here")
    study.checkpoint(recipe.arm(arm), 0)
    return {source: len(study.images(source)) for source in recipe.sources()}


def test_a_server_generates_the_images_of_arms(folders, tmp_path, monkeypatch, no_gpu):
    monkeypatch.chdir(tmp_path)
    _, lines = written(folders, tmp_path)
    (words,) = (words for words in commands(lines) if "--server" in words)
    with Server() as server:
        run_command([*words, "--no-check"], **{"http://127.0.0.1:30000": server.url, "NAME": "painter"})
        text = (tmp_path / "study.yaml").read_text()
        (tmp_path / "study.yaml").write_text(re.sub(r"(width|height): 512", rf"\1: {SIDE}", text))
        assert trained_on(tmp_path, "real+generated") == {"real": 21, "generated": 30}
    assert loaded(tmp_path).answer == "real+generated"


def test_another_machine_generates_and_the_study_goes_on_here(folders, tmp_path, monkeypatch, no_gpu):
    monkeypatch.chdir(tmp_path)
    _, lines = written(folders, tmp_path)
    (generate,) = (words for words in commands(lines) if words[0] == "generate")
    (again,) = (words for words in commands(lines) if words[0] == "init" and "FOLDER" in words)
    tiny = ["generator={model: pictograms, steps: 1, dtype: float32}", "device=cpu", "generate.batch_size=8"]
    there = [*generate, *(word for key in tiny for word in ("--set", key)), "--out", "there"]
    parts = [run_command([*there, "--part", f"{part}/2", "--set", "generate.shard_size=15"]) for part in (1, 2)]
    (made,) = (tmp_path / "there" / "generated").iterdir()
    assert all(made.name in output for output in parts)
    shutil.move(made, tmp_path / "copied")
    run_command(again, FOLDER="copied")
    assert trained_on(tmp_path, "real+generated") == {"real": 21, "generated": 30}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--server", "http://127.0.0.1:1"], "--model"),
        (["--model", "x"], "--server"),
        (["--server", "no address", "--model", "x"], "generator.server.url"),
        (["--server", "http://127.0.0.1:1", "--model", "x", "--generated", "made"], "--generated"),
    ],
)
def test_mistakes_with_a_server_write_no_recipe(options, field, folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    genrobust("init", "--train", "train", "--test", "test", *options, code=2, said=field)
    assert not (tmp_path / "study.yaml").exists()


def test_sets_that_would_be_left_out_are_named_and_others_are_averaged(folders, write_folder, tmp_path):
    """12 images are few, and no set has 30; beside one of 33 they are too few to be averaged."""
    said = "\n".join(written(folders, tmp_path)[1])
    assert loaded(tmp_path).evaluate.min_images == 8
    assert "left out" not in said
    many = {f"{shape}_{i}": shape for shape in CLASSES.values() for i in range(3)}
    train, test, shift = (write_folder(f"of {name}", name, 5, many) for name in ("train", "test", "solid"))
    one = write_folder("one", "emoji", 3, {"camera_0": "camera"})
    named = {"train": train, "test": test, "shift solid": shift, "shift one": one}
    text, lines = written(named, tmp_path, overwrite=True)
    least = loaded(tmp_path).evaluate.min_images
    assert 30 <= least == sum(1 for _ in shift.rglob("*.png"))
    (left_out,) = (line for line in lines if "left out of the mean" in line)
    assert f"fewer than {least}" in left_out and lines[lines.index(left_out) - 1].startswith("shift one")
    assert "left out: one" in text


def test_with_a_gpu_it_generates(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(init, "available_devices", lambda: ["cuda", "cuda:0", "cpu"])
    _, lines = written(folders, tmp_path)
    recipe = loaded(tmp_path)
    assert recipe.generator is not None
    assert recipe.sources() == {"real", "generated"}
    assert recipe.generate.per_class == 10
    assert "to generate: 30 images of 25 steps: not measured yet" in lines
    for generator, rate in ((init.STABLE_DIFFUSION, 2.5), (GeneratorConfig(), 100.0)):
        cost = generation_cost(generator)
        Rates(tmp_path / "runs").remember("generate", cost.key("cuda"), rate * cost.amount)
    _, lines = written(folders, tmp_path, overwrite=True)
    assert "to generate: 30 images of 25 steps: about 12 s at 2.5 images/s, measured here" in lines


def test_a_grid_of_baselines_is_proposed_where_a_line_can_be_fitted(write_folder, tmp_path):
    many = {f"{shape}_{i}": shape for shape in ("airplane", "bell", "camera") for i in range(12)}
    train, test, shift = (write_folder(f"of {name}", name, 3, many) for name in ("train", "test", "solid"))
    _, lines = written({"train": train, "test": test, "shift solid": shift}, tmp_path)
    assert not any(line.startswith("no baseline line") for line in lines)
    robustness = loaded(tmp_path).robustness
    assert (robustness.grid, robustness.baselines) == (6, None)


def test_a_recipe_that_is_there_is_kept(folders, tmp_path):
    (tmp_path / "study.yaml").write_text("mine")
    with pytest.raises(UserError, match=r"study\.yaml exists: .*--overwrite"):
        written(folders, tmp_path)
    assert (tmp_path / "study.yaml").read_text() == "mine"
    for edited in ("mine", "mine again"):
        (tmp_path / "study.yaml").write_text(edited)
        text, said = written(folders, tmp_path, overwrite=True)
        assert text.startswith("# Written by genrobust init")
    assert [(tmp_path / f"study.{number}.yaml").read_text() for number in (1, 2)] == ["mine", "mine again"]
    assert any(str(tmp_path / "study.2.yaml") in line for line in said)
    written(folders, tmp_path, overwrite=True)
    assert not (tmp_path / "study.3.yaml").exists(), "it is the same recipe"


@pytest.mark.parametrize("name", ["2024", "yes", "null", "007", "1e5", "a: b"])
def test_a_file_name_that_means_something_else_in_yaml_is_a_name(name, folders, tmp_path):
    write_recipe(UserFolders(folders), tmp_path / f"{name}.yaml", tmp_path / "runs", lambda *more: "", print)
    assert load_recipe(str(tmp_path / f"{name}.yaml")).name == study_name(name)


def test_unusable_folders_and_names_are_named(folders, tmp_path):
    missing = {**folders, "shift none": tmp_path / "none"}
    with pytest.raises(UserError, match=r"--shift none"):
        written(missing, tmp_path)
    with pytest.raises(UserError, match="train and test are the same folder"):
        written({"train": folders["train"], "test": folders["train"]}, tmp_path)
    with pytest.raises(UserError, match=r"test is inside train, .*: give each its own images"):
        written({"train": folders["test"].parent, "test": folders["test"]}, tmp_path)
    (folders["train"] / "empty").mkdir()
    with pytest.raises(UserError, match="hold no image: empty"):
        written(folders, tmp_path)
    with pytest.raises(UserError, match=r"study\.txt.*\.yaml"):
        write_recipe(UserFolders(folders), tmp_path / "study.txt", tmp_path / "runs", lambda *more: "", print)
    assert not [*tmp_path.glob("study.*")]


def test_arms_start_from_a_pretrained_network(folders, write_folder, tmp_path, clip_folder, timm_folders):
    given = {**folders, "generated": write_folder("made", "emoji", 8, CLASSES)}
    for number, spec in enumerate((f"clip:{clip_folder}", str(timm_folders["resnet"]))):
        place = tmp_path / str(number)
        place.mkdir()
        text, lines = written(given, place, pretrained=spec)
        assert not any("--pretrained" in line for line in lines) and spec in text
        recipe, quick = loaded(place), loaded(place, quick=True)
        inits = {arm.name: recipe.train_of(arm).init for arm in recipe.arms}
        assert [name for name, of in inits.items() if of == spec] == [
            f"{way}{more}" for more in ("", "+generated") for way in ("linear probe", "fine-tuned", "WiSE-FT")
        ]
        assert recipe.train.image_size == 32 and recipe.train_of(recipe.arm("WiSE-FT+generated")).wise_ft == (0.5,)
        assert recipe.generate.prompts.templates == "openai"  # a CLIP is to know the classes by no icons' prompts
        assert {recipe.references()[arm] for arm, of in inits.items() if of == spec} == {
            "fine-tuned",
            "linear probe",
            "WiSE-FT",
        }  # and never an arm from scratch
        short = {arm.name: quick.train_of(arm).steps for arm in quick.arms if quick.train_of(arm).probes != "only"}
        assert set(short.values()) <= {quick.train.steps, recipe.train_of(recipe.arm("fine-tuned")).steps}
        assert Study(recipe, place / "runs").rows()


def test_few_images_propose_a_pretrained_network(folders, tmp_path, monkeypatch):
    text, lines = written(folders, tmp_path)
    assert any("a class has 8 training images" in line for line in lines)
    assert any(f"--pretrained {init.PROPOSED}" in line for line in lines) and init.PROPOSED in text
    assert not any(loaded(tmp_path).train_of(arm).is_pretrained for arm in loaded(tmp_path).arms)
    monkeypatch.setattr(init, "FEW", 8)
    text, lines = written(folders, tmp_path, overwrite=True)
    assert init.PROPOSED not in text + "".join(lines)


def test_a_network_that_cannot_be_opened_writes_no_recipe(folders, tmp_path):
    with pytest.raises(UserError, match=r"train\.init"):
        written(folders, tmp_path, pretrained=f"clip:{tmp_path}")
    assert not (tmp_path / "study.yaml").exists()
