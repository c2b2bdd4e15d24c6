"""Trains variants of a recipe's arms briefly, the better ones longer, and the best several times.

A round keeps one of three variants and trains them three times as long (successive halving; Jamieson and Talwalkar,
2016, arXiv:1502.07943). The more the budget allows, the longer is the first round. Every training is an artifact of the
output folder, so that a rerun goes on where it was: the order of the variants is drawn once, and no optimizer has to
keep a journal.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core import (
    MEAN_OF_SHIFTS,
    Score,
    StudyData,
    UserError,
    about,
    artifact_folder,
    csv_line,
    local_folder,
    page_json,
    read_page_json,
    write_files,
)
from genrobust.recipe import GENERATED, Recipe, TuneConfig, parse_recipe, recipe_yaml
from genrobust.robustness import image_metric
from genrobust.study import Local, Study, TrainingRun, rows, seconds_left
from genrobust.tools.tune.variants import Variant, variants

FINALISTS = 2  # variants that the last round compares
KEPT = 3  # one of so many variants of a round enters the next, which trains so many times as long
# Shares of a training in the rounds before the last: the first that the budget allows.
LADDERS: tuple[tuple[float, ...], ...] = ((1,), (1 / KEPT,), (1 / KEPT**2, 1 / KEPT))
SHORTEST = 100  # steps of a training in a round: fewer favor the arms with the fewest images
NEW_SEED = 2**31  # of a training that is not there, which is looked at for its time
PLAN, TRIALS = "plan.json", "trials.csv"


@dataclass(frozen=True, slots=True)
class Trial:
    """What a variant reached in a round, top-1 in percent on the images that choose, after training so long."""

    round: int
    variant: Variant
    length: str
    score: float


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning found.

    Attributes:
        trials: The trainings of the rounds before the last, the best of each round first.
        best: The best variant of the last round, and `default` the recipe's own arm; `gain` is the difference on the
            images that chose, `on`, over all seeds.
        files: The files of the last round's report, and "recipe" for the written recipe.
    """

    trials: tuple[Trial, ...]
    best: str
    default: str
    gain: Score
    on: tuple[str, ...]
    files: Mapping[str, Path]

    @property
    def is_better(self) -> bool:
        """Whether the best variant is better than the recipe's own arm beyond chance."""
        return self.gain.lo > 0


class Tuning:
    """The tuning of `recipe` in the folder `out`, of about `budget` seconds; `command` is what its report quotes.

    Raises:
        UserError: A variant is no valid arm; no images can choose, or they are all test sets that there are.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path | str,
        budget: float,
        executor: Local,
        say: Callable[[str], None] = lambda line: None,
        seed: int = 0,
        command: str = "",
    ) -> None:
        self.recipe, self.out, self.budget, self.executor = recipe, local_folder(out), budget, executor
        self.command = command or f"genrobust tune {recipe.name}.yaml --budget {budget:g}s --seed {seed}"
        self.say = cache(say)  # each of its studies would repeat what is the same for all
        self.config, self.seed, self.name = recipe.tune or TuneConfig(), seed, f"{recipe.name}-tune"
        self.raw = recipe.model_dump(mode="json", exclude={"tune"})
        self.on: tuple[str, ...] = ()
        self.default = recipe.answer if recipe.answer in recipe.arm_names else recipe.reference
        all_variants = list(variants(self.raw, self.config.over, GENERATED))
        own = [variant for variant in all_variants if not variant.chosen]
        changed = [variant for variant in all_variants if variant.chosen]
        random.Random(seed).shuffle(changed)
        self.variants = {variant.name: variant for variant in [*own, *changed]}
        self.all_arms = self._derived(self.variants.values())
        self.on = self._choosing_sets()

    def run(self) -> Tuned:
        """Run all rounds, report the last one, and write the recipe.

        Raises:
            UserError: The budget is too small for two variants.
            GenrobustError: A stage fails.
        """
        shares, names, seeds = self._plan()
        entered, trials = [self.variants[name] for name in names], list[Trial]()
        for number, share in enumerate(shares, 1):
            done = sorted(self._try(number, entered, share), key=lambda trial: -trial.score)
            trials += done
            others = [trial.variant for trial in done if trial.variant.name != self.default]
            kept = math.ceil(len(done) / KEPT) if number < len(shares) else 0
            entered = others[: max(kept, FINALISTS)]
        return self._finish(entered, seeds, trials)

    @cached_property
    def _data(self) -> StudyData:
        return Study(self._derived(()), self.out, executor=self.executor).data

    def _choosing_sets(self) -> tuple[str, ...]:
        """The names of the test sets that choose."""
        own = None if self._data.shifted_val is None else self._data.shifted_val.name
        shifts = [name for name in self._data.tests if name != self._data.clean]
        if not self.config.choose_by and own is None:
            raise UserError(
                "tune.choose_by: the data has no shifted validation set. Name a shifted test set to choose by, which "
                f"the tuned recipe then leaves out of its tests; there are {', '.join(shifts)}"
            )
        on = self.config.choose_by or tuple(filter(None, [own]))
        known = [name for name in shifts if name not in self._data.derived]
        if unknown := [name for name in on if name not in (*known, own)]:
            raise UserError(
                f"tune.choose_by: no shifted test set {unknown[0]!r} of images of its own; there are {', '.join(known)}"
            )
        if made := [name for name, shift in self.recipe.data.shifts.items() if getattr(shift, "of", None) in on]:
            raise UserError(
                f"tune.choose_by: data.shifts.{made[0]} makes test sets of the images that choose: give it another `of`"
            )
        if not set(shifts) - set(on):
            raise UserError(
                "tune.choose_by: these are all shifted test sets, so none is left to test on: leave one out"
            )
        return on

    def _derived(self, arms: Iterable[Variant], **changes: Any) -> Recipe:
        """The recipe with other `arms`, without what only its own report needs, and with `changes`."""
        listed = list(arms) or [Variant(arm["name"], arm["name"], arm) for arm in self.raw["arms"]]
        raw = {
            **self.raw,
            **dict.fromkeys(("quality", "zero_shot", "answer")),
            "claims": [],
            "track": False,
            "robustness": {**self.raw["robustness"], "baselines": None, "grid": 0},
            "datasets": {**self.raw["datasets"], **{name: raw for arm in listed for name, raw in arm.datasets.items()}},
            "arms": [{**arm.arm, "group": None} for arm in listed],
            "tune": {"choose_by": list(self.on)},  # which then holds no copy of what is tested
        }
        return parse_recipe({**raw, **changes}, where=f"{self.recipe.name}: tune.over")

    def _study(self, arms: Iterable[Variant], **changes: Any) -> Study:
        """The study of `arms` on the images that choose."""
        tests = {**self.raw["evaluate"], "tests": list(self.on), "beside": [], "min_images": 1}  # all of them choose
        recipe = self._derived(arms, name=self.name, evaluate=tests, **changes)
        return Study(recipe, self.out, self.command, self.say, self.executor)

    def _shortened(self, variant: Variant, share: float) -> tuple[Variant, str]:
        """A variant that trains for a share of its time, and that time in words."""
        train = self.all_arms.train_of(self.all_arms.arm(variant.name))
        steps = None if train.steps is None else max(round(train.steps * share), min(SHORTEST, train.steps))
        epochs = None if train.epochs is None else train.epochs * share
        words = f"{epochs:.3g} epochs" if steps is None else f"{steps} steps"
        name = f"{variant.name}, {words}"
        arm = {**variant.arm, "name": name, "train": {**variant.arm["train"], "steps": steps, "epochs": epochs}}
        return replace(variant, name=name, arm=arm), words

    def _round(self, entered: Sequence[Variant], share: float) -> tuple[Study, dict[TrainingRun, tuple[Variant, str]]]:
        """The study of a round, and its trainings. The recipe's own arms are in it: others may start from them."""
        short = [self._shortened(variant, share) for variant in entered]
        own = [variant for variant in self.variants.values() if not variant.chosen]
        study = self._study([*own, *(variant for variant, _ in short)], seeds=self.raw["seeds"][:1])
        of = {shortened.name: (variant, words) for variant, (shortened, words) in zip(entered, short, strict=True)}
        return study, {run: of[run.of] for run in study.runs() if run.of in of}

    def _try(self, number: int, entered: Sequence[Variant], share: float) -> list[Trial]:
        """Train variants for a share of their time, and score them."""
        self.say(f"round {number}: {len(entered)} variants")
        study, runs = self._round(entered, share)
        metric = image_metric("top1")
        return [
            Trial(number, variant, words, float(np.mean([metric.value(predictions[test]) for test in self.on])))
            for (variant, words), predictions in zip(runs.values(), study.predictions(list(runs)), strict=True)
        ]

    def _plan(self) -> tuple[Sequence[float], list[str], list[int]]:
        """What the budget allows: shares of a training by round, the variants of the first one, the seeds of the last.

        They are kept, so that a rerun goes on with the same.
        """
        budget = {"seconds": self.budget, "ladders": LADDERS, "seed": self.seed}
        asked = {"recipe": self.raw, "tune": self.config.model_dump(mode="json"), "budget": budget}
        folder = artifact_folder(self.out / "plans", self.name, asked)
        if (folder / PLAN).is_file():
            plan = read_page_json(folder / PLAN)
            return plan["shares"], plan["variants"], plan["seeds"]
        shares, names, seeds, seconds = self._affordable()
        self.say(f"{len(names)} of {len(self.variants)} variants fit the budget, {about(seconds)} in all")
        plan = {"shares": shares, "variants": names, "seeds": seeds}
        write_files({PLAN: page_json(plan)}, folder, asked)
        return shares, names, seeds

    def _affordable(self) -> tuple[Sequence[float], list[str], list[int], float]:
        """The longest rounds that fit with all variants, or the shortest with the most; and the seconds of all."""
        recipe_seeds, names = self.raw["seeds"], list(self.variants)
        further = [max(recipe_seeds) + i for i in range(1, self.config.seeds)]
        all_seeds = [*recipe_seeds, *further][: self.config.seeds]
        for shares in LADDERS[:-1] if self._full_training is not None else ():
            all_of_it = self._timer(shares)(len(names), len(all_seeds))
            if all_of_it <= self.budget:
                return shares, names, all_seeds, all_of_it
        shares = LADDERS[-1]
        seconds = self._timer(shares)
        for seeds in (all_seeds, all_seeds[:2]):
            fitting = bisect_right(range(2, len(names) + 1), self.budget, key=lambda count: seconds(count, len(seeds)))
            if fitting:
                return shares, names[: fitting + 1], seeds, seconds(fitting + 1, len(seeds))
        shortest = about(seconds(2, 2))
        raise UserError(f"--budget: the shortest tuning takes {shortest} here: give it more, or set train.steps lower")

    @cached_property
    def _full_training(self) -> float | None:
        """The seconds that a whole training of the recipe's own arm takes; None where its rate is unknown."""
        study = self._study(())
        default = next(run for run in study.runs() if run.of == self.default)
        stage = study.graph.train([replace(default, seed=NEW_SEED)])
        return stage.seconds(stage.jobs())

    def _timer(self, shares: Sequence[float]) -> Callable[[int, int], float]:
        """Tells how long tuning takes with so many variants and so many seeds; unknown rates count as nothing."""
        workers, full = self.executor.workers(), self._full_training or 0.0
        study, runs = self._round(list(self.variants.values()), shares[0])
        arms = len({self.default, self.recipe.reference}) + FINALISTS

        def seconds(count: int, seeds: int) -> float:
            first, _ = seconds_left(list(rows(study.graph.evaluate(list(runs)[:count]).order())))
            later = [math.ceil(count / KEPT**i / workers) * full * share for i, share in enumerate(shares) if i]
            return first + sum(later) + math.ceil(arms * seeds / workers) * full

        return seconds

    def _with_needed(self, names: set[str]) -> list[Variant]:
        """The variants called `names`, and those that they start from, or whose classifiers judge images."""
        needed = set[str]()
        for arm in map(self.all_arms.arm, names):
            rules = [self.all_arms.filter_of(part.source) for part in arm.mixture]
            needed |= {rule.arm for rule in rules if rule is not None and rule.by == "classifier"}
            needed |= {origin for origin in [self.all_arms.train_of(arm).origin_arm] if origin is not None}
        if needed - names:
            return self._with_needed(names | needed)
        return [variant for name, variant in self.variants.items() if name in names]

    def _finish(self, best: Sequence[Variant], seeds: Sequence[int], trials: Sequence[Trial]) -> Tuned:
        """Train the best variants and the recipe's own arm to their end, report, and write the recipe."""
        always = {self.recipe.reference, self.default}
        arms = self._with_needed(always | {variant.name for variant in best})
        names_of_best = ", ".join(variant.name for variant in best)
        self.say(f"last round: {names_of_best} beside {self.default}, {len(seeds)} seeds")
        study = self._study(
            [replace(variant, arm={**variant.arm, "reference": None}) for variant in arms],
            seeds=seeds,
            reference=self.default,
            answer=best[0].name,
            title=f"{self.recipe.name}: does a variant help on {', '.join(self.on)}?",
            question="",
        )
        summary, files = study.run()
        where = MEAN_OF_SHIFTS if summary.shifts else self.on[0]
        winner = max(best, key=lambda variant: summary.score("top1", variant.name, where).value)
        gain = summary.difference("top1", winner.name, self.default, where)
        assert gain is not None  # the default is the reference of all
        changes = {
            "answer": winner.name if gain.lo > 0 else self.default if self.default != self.recipe.reference else None,
            "evaluate": self.raw["evaluate"],
            "robustness": self.raw["robustness"],
        }
        if given_up := [name for name in self._data.tests if name in self.on]:
            tested = self.raw["evaluate"]["tests"] or list(self._data.tests)
            changes["evaluate"] = {**self.raw["evaluate"], "tests": [name for name in tested if name not in given_up]}
        kept = self._with_needed(always | {winner.name})
        recipe = self._derived(kept, name=f"{self.recipe.name}-tuned", seeds=seeds, **changes)
        head = f"# By genrobust tune {self.recipe.name}, chosen on {', '.join(self.on)}, which it does not test on.\n"
        contents = {
            f"{recipe.name}.yaml": head + recipe_yaml(recipe, study.report_folder),
            TRIALS: _table(trials, list(self.config.over)),
        }
        written = write_files(contents, study.report_folder)
        files = {**files, "recipe": written[f"{recipe.name}.yaml"], "trials": written[TRIALS]}
        return Tuned(tuple(trials), winner.name, self.default, gain, self.on, files)


def _table(trials: Iterable[Trial], keys: Sequence[str]) -> str:
    """The trials as CSV."""
    rows: list[list[object]] = [["round", "variant", "trained", "top1", *keys]]
    for trial in trials:
        chosen = [trial.variant.chosen.get(key, "") for key in keys]
        rows.append([trial.round, trial.variant.name, trial.length, round(trial.score, 2), *chosen])
    return "".join(map(csv_line, rows))
