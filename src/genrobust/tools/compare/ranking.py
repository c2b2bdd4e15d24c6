"""What studies trained on, ranked by what a classifier learns from it, in groups of results that can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genrobust.core import (
    MANIFEST,
    MEAN_OF_SHIFTS,
    NOT_GENERATED,
    ArmRecord,
    Artifact,
    Score,
    UserError,
    digest,
    fetch_artifacts,
    local_folder,
    reading,
    remote_of,
)
from genrobust.recipe import GENERATED, Recipe
from genrobust.report import (
    RESULTS,
    Column,
    Entry,
    StudyResults,
    count,
    difference_entry,
    gain,
    mark_best,
    metric_table,
    mixture_in_words,
    read_results,
    recipe_of,
    row_name,
)
from genrobust.robustness import comparable, find_metric

TOP1 = find_metric("top1")
DIFFERENCES = 6  # between two rankings, that are listed
Facts = dict[tuple[str, str], str]  # what decides whether results can be compared, by its kind and its name


@dataclass(frozen=True, slots=True)
class RankedArm:
    """An arm of a study: what it trained on, its accuracies over all seeds, and what it cost.

    Attributes:
        study: The name of the study; `name` is that of the arm, with a mark if it started from a pretrained network.
        mixture: What it trained on in words, with the number of images; `made_by` says how each source was generated.
        generated: The number of generated images in the mixture.
        entries: The top-1 accuracies by test set, of which the study has `columns`.
        leading: The score that it is ranked by, and `gain` how far that is above the score of `reference`, "" for none.
    """

    results: StudyResults
    record: ArmRecord
    study: str
    name: str
    mixture: str
    made_by: tuple[str, ...]
    generated: int
    columns: tuple[Column, ...]
    entries: dict[str, Entry]
    leading: Score
    gain: Entry
    reference: str

    @property
    def making(self) -> float | None:
        """The seconds in which one worker makes all images of the arm; None where that is not known."""
        return None if self.seconds is None else self.seconds - self.record.seconds.get("train", 0)

    @property
    def seconds(self) -> float | None:
        """The seconds in which one worker makes all images of the arm and trains it once; None if not known."""
        return sum(self.record.seconds.values()) if self.record.seconds else None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Arms on the same test sets, prepared in the same way, with the same seeds: the highest score first.

    `by` is what they are ranked by: the mean of the shifts or, without any, the clean set. `facts` are what all of them
    have in common, and `differences` those that the first ranking has otherwise. `heading` names their kinds.
    """

    heading: str
    by: str
    facts: Facts
    differences: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[RankedArm, ...]


def find_results(runs: Iterable[str]) -> dict[str, Path]:
    """Find the results.json of the studies that `runs` name, each once: its name in messages, and its path.

    Each is the folder of a study, an output folder that holds several, a results.json, or the URL of one of these.

    Raises:
        UserError: There are no results of a study.
        GenrobustError: A store does not answer.
    """
    found: dict[Path, str] = {}
    for run in runs:
        with reading(run, ValueError):
            file = Path(run).name if run.endswith(".json") and not Path(run).is_dir() else ""
            folder = local_folder((run.removesuffix(file) or ".") if file else run)
            _fetch_results(folder)
            paths = [folder / (file or RESULTS)]
            if not file and not paths[0].is_file():
                paths = [path for path in sorted(folder.glob(f"*/{RESULTS}")) if not path.parent.name.startswith(".")]
            if not paths or not paths[0].is_file():
                raise UserError(
                    f"{run}: no results of a study, neither {RESULTS} nor folders that hold one: name the folder of a "
                    "study that is finished, such as runs/pictograms"
                )
            for path in paths:
                remote = remote_of(path)
                name = str(path) if remote is None else f"{remote.url}/{path.relative_to(folder).as_posix()}"
                found.setdefault(path.resolve(), name)
    return {name: path for path, name in found.items()}


def _fetch_results(folder: Path) -> None:
    """Download the results in `folder`, or in folders in it, if it is at a URL."""
    if remote_of(folder) is not None:
        fetch_artifacts(folder)
        for report in (Artifact(folder).fetch(), *(Artifact(path.parent) for path in folder.glob(f"*/{MANIFEST}"))):
            if report.is_finished and RESULTS in report.manifest().files:
                report.fetch_files([RESULTS])


def rank(files: Mapping[str, Path]) -> list[Ranking]:
    """Read results, by their names in messages, and rank their arms: the largest ranking first.

    Arms are in one ranking if all that decides their scores, beside the classifier, is the same. The same arm of the
    same study is there once, with its latest results. Studies of one name are called by their folders.

    Raises:
        UserError: A file is no results.json of a study, or one of another version.
    """
    groups: dict[str, dict[str, RankedArm]] = {}
    all_facts: dict[str, Facts] = {}
    for name, path in files.items():
        results = read_results(path, name)
        with reading(
            name, KeyError, IndexError, ValueError, then=": it lacks a score, or all arms: run the study again"
        ):
            if not (arms := list(_arms(results))):
                raise ValueError("no arm is ranked")
            facts = _facts(results)
        group = digest(sorted(facts.items()))
        all_facts[group], kept = facts, groups.setdefault(group, {})
        for arm in arms:
            same = digest([arm.study, arm.record.name, arm.record.trained])
            if same not in kept or kept[same].results.date < results.date:
                kept[same] = arm
    folders: dict[str, set[str]] = {}
    for arm in (arm for kept in groups.values() for arm in kept.values()):
        folders.setdefault(arm.study, set()).add(arm.results.path.parent.name)
    for kept in groups.values():
        for same, arm in kept.items():
            if len(folders[arm.study]) > 1:
                kept[same] = replace(arm, study=arm.results.path.parent.name)
    ordered = sorted(groups, key=lambda group: -len(groups[group]))
    first = all_facts[ordered[0]]
    names = [f"Ranking {i}" for i in range(1, len(ordered) + 1)] if len(ordered) > 1 else ["Ranking"]
    return [
        _ranking(name, all_facts[group], list(groups[group].values()), first)
        for name, group in zip(names, ordered, strict=True)
    ]


def _ranking(name: str, facts: Facts, arms: Sequence[RankedArm], first: Facts) -> Ranking:
    rows = sorted(arms, key=lambda arm: -arm.leading.value)
    columns = rows[0].columns
    entries = [[arm.entries[column.name] for column in columns] for arm in rows]
    from_scratch = [row for arm, row in zip(rows, entries, strict=True) if arm.name == arm.record.name]
    mark_best(columns, from_scratch or entries, TOP1)
    other = [key for key in dict.fromkeys([*facts, *first]) if facts.get(key) != first.get(key)]
    differences = [f"{key[1] or key[0]}: {facts.get(key, 'none')} instead of {first.get(key, 'none')}" for key in other]
    if len(differences) > DIFFERENCES:
        differences = [*differences[: DIFFERENCES - 1], f"and {len(differences) - DIFFERENCES + 1} more"]
    kinds = ", ".join(dict.fromkeys(kind for kind, _ in other))
    return Ranking(
        heading=f"{name}: other {kinds}" if kinds else name,
        by=_leading(rows[0].results),
        facts=facts,
        differences=tuple(differences),
        columns=columns,
        rows=tuple(
            replace(arm, entries={column.name: entry for column, entry in zip(columns, row, strict=True)})
            for arm, row in zip(rows, entries, strict=True)
        ),
    )


def _leading(results: StudyResults) -> str:
    return MEAN_OF_SHIFTS if results.summary.shifts else results.summary.clean


def _facts(results: StudyResults) -> Facts:
    """What must be the same in results that are ranked together."""
    summary = results.summary
    protocols = {test: comparable(summary.protocols[test]) for test in sorted(summary.tests)}
    alike = len(set(protocols.values())) == 1
    facts = {
        ("seeds", ""): ", ".join(map(str, summary.seeds)),
        ("classes", ""): f"{len(results.classes):,} ({digest(results.classes)[:6]})",
        ("shifts in the mean", ""): ", ".join(sorted(summary.shifts)) or "none",
        ("preparation", ""): protocols[summary.clean] if alike else "; ".join(map(": ".join, protocols.items())),
    }
    for test in sorted(summary.tests):
        score, names = summary.score("top1", summary.arms[0], test), results.test_images[test]
        sizes = f"{count(score.n, 'image')}, {count(score.classes, 'class')}"
        facts["test sets", test] = f"{sizes}, names {names[:6]}"
    return facts


def _arms(results: StudyResults) -> Iterator[RankedArm]:
    summary, recipe = results.summary, recipe_of(results)
    records = {record.name: record for record in results.arms}
    if (table := metric_table(summary, TOP1)) is None:
        return
    for name, entries in table.rows:
        if (record := records.get(name)) is None:
            continue  # a CLIP that no arm trained
        difference, reference = gain(summary, "top1", name, _leading(results)), summary.reference_of(name)
        others = NOT_GENERATED if recipe is None else recipe.not_generated
        made = [source for source in record.parts if source not in others]
        yield RankedArm(
            results=results,
            record=record,
            study=results.path.parent.name if recipe is None else recipe.name,
            name=row_name(summary, name),
            mixture=mixture_in_words(record),
            made_by=() if recipe is None else tuple(f"{source}: {_made_by(recipe, source)}" for source in made),
            generated=sum(record.parts[source] for source in made),
            columns=table.columns,
            entries={column.name: entry for column, entry in zip(table.columns, entries, strict=True)},
            leading=summary.score("top1", name, _leading(results)),
            gain=difference_entry(difference, TOP1),
            reference="" if reference == name else reference,
        )


def _made_by(recipe: Recipe, source: str) -> str:
    """How the images of a generated dataset were made, in words."""
    if source == GENERATED and recipe.data.generated is not None:
        return "user-provided"
    generator, generate = recipe.generation(source)
    dataset = recipe.datasets.get(source)
    guidance, rule = getattr(generator, "guidance_scale", None), recipe.filter_of(source)
    model = generator.model
    if dataset is not None and dataset.from_scratch:
        images = recipe.class_model_of(source).images
        model = f"a model of the real images{' and the pool' if images.startswith('pool') else ''}"
    phrases = [
        model + (", fine-tuned" if dataset and dataset.finetuned else ""),
        f"from {generator.mode}",
        f"{generate.prompts.strategy} prompts" if generator.reads_text else "",
        "" if guidance is None else f"guidance {guidance:g}",
        count(generator.drawn_steps, "step"),
        "" if rule is None else f"without {rule.in_words()}",
    ]
    return ", ".join(filter(None, phrases))
