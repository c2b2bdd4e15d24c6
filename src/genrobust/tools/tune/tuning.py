"""Trains variants of a recipe's arms briefly, the better ones longer, and the best several times.

A round keeps one of three variants and trains them three times as long (successive halving; Jamieson and Talwalkar,
2016, arXiv:1502.07943). A larger budget makes the first round longer. Every training is an artifact of the output
folder, and the order of the variants is fixed, so a rerun resumes.
"""

from __future__ import annotations

import math
import random
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core import (
    MEAN_OF_SHIFTS,
    RETRIEVED,
    RETRIEVED_BY_CLASS,
    RETRIEVED_BY_SEARCH,
    Score,
    StudyData,
    UserError,
    about,
    csv_line,
)
from genrobust.recipe import GENERATED, TRAIN, Recipe, TrainConfig, TuneConfig, parse_recipe, recipe_yaml
from genrobust.robustness import image_metric
from genrobust.store import artifact_folder, local_folder, page_json, read_page_json, write_files
from genrobust.study import Executor, Study, TrainingRun, list_rows, seconds_left
from genrobust.tools.tune.variants import Variant, variants

FINALISTS = 2  # variants in the last round
# One of so many variants of a round enters the next round, which trains so many times as long.
KEPT = 3
# Shares of a training in the rounds before the last. The first that fits the budget is used.
LADDERS: tuple[tuple[float, ...], ...] = ((1,), (1 / KEPT,), (1 / KEPT**2, 1 / KEPT))
# Fewest steps of a training in a round: with fewer, the arms with the fewest images win.
SHORTEST = 100
# The seed of a training that does not exist, to estimate its time.
NEW_SEED = 2**31
# Factor of the smallest budget that is proposed: the estimate may rise a little until the next command.
SPARE = 1.05
# Sources that retrieve as many images as arms of the recipe generate.
MATCHED = {RETRIEVED, RETRIEVED_BY_CLASS, RETRIEVED_BY_SEARCH}
BEST = 5  # variants that are printed after a round
PLAN, TRIALS = "plan.json", "trials.csv"

# A round, a variant, how long it trained, and its top-1 on the images that choose.
Trial = tuple[int, str, str, float]


@dataclass(frozen=True, slots=True)
class Tuned:
    """The result of tuning.

    Attributes:
        best: The best variant of the last round.
        default: The recipe's own arm.
        gain: The difference of both on the test sets `on`, which chose, over all seeds.
        files: The files of the last round's report, and "recipe" for the written recipe.
    """

    best: str
    default: str
    gain: Score
    on: tuple[str, ...]
    files: Mapping[str, Path]


class Tuning:
    """The tuning of `recipe` in the folder `out`, in about `budget` seconds. Its report quotes `command`."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path | str,
        budget: float,
        executor: Executor,
        command: str,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.recipe = recipe
        self.out = local_folder(out)
        self.budget = budget
        self.executor = executor
        self.command = command
        # The studies say the same things. Say each once.
        self.say = cache(say)
        self.config = recipe.tune or TuneConfig()
        self.name = f"{recipe.name}-tune"
        self.raw = recipe.model_dump(mode="json", exclude={"tune"})
        self.on: tuple[str, ...] = ()
        self.default = recipe.answer if recipe.answer in recipe.arm_names else recipe.reference
        found = list(variants(self.raw, self.config.over, GENERATED, self._can_have))
        self.own = [variant for variant in found if not variant.chosen]
        self.all_arms = self._derived(found)
        changed = self._new(variant for variant in found if variant.chosen)
        random.Random(0).shuffle(changed)
        self.variants = {variant.name: variant for variant in [*self.own, *changed]}
        if len(self.variants) == 1:
            raise UserError(f"tune.over: nothing to try: {self.default} cannot have these keys, or has these values")
        data = Study(self._derived(self.own), self.out, executor=executor).data
        self.on = self._choosing_sets(data)
        self.tests = [name for name in recipe.evaluate.tests or data.tests if name not in self.on]

    def run(self) -> Tuned:
        """Run all rounds, report the last one, and write the recipe."""
        plan = self.plan()
        entered = plan["variants"]
        trials: list[Trial] = []
        for number, share in enumerate(plan["shares"], 1):
            self.say(f"round {number}: {len(entered)} variants")
            done = self._run_round(number, entered, share)
            trials += done
            best = [f"{name} ({score:.1f} %)" for _, name, _, score in done[:BEST]]
            self.say(f"the best: {'; '.join(best)}")
            others = [name for _, name, _, _ in done if name != self.default]
            is_last = number == len(plan["shares"])
            kept = 0 if is_last else math.ceil(len(done) / KEPT)
            entered = others[: max(kept, FINALISTS)]
        return self._finish(entered, plan["seeds"], trials)

    def _run_round(self, number: int, entered: Sequence[str], share: float) -> list[Trial]:
        """Train the variants `entered` for a `share` of their time. Return the trials, the best first."""
        study, runs = self._round(entered, share)
        top1 = image_metric("top1")
        trials = []
        for (name, length), predictions in zip(runs.values(), study.predictions(list(runs)), strict=True):
            score = np.mean([top1.value(predictions[test]) for test in self.on])
            trials.append((number, name, length, round(float(score), 4)))
        return sorted(trials, key=lambda trial: -trial[-1])

    def plan(self) -> dict[str, list[Any]]:
        """Return what the budget allows: the shares of a training by round, the first variants, and the last seeds.

        The plan is saved, so a rerun has the same.
        """
        budget = {"seconds": self.budget, "ladders": LADDERS}
        asked = {"recipe": self.raw, "tune": self.config.model_dump(mode="json"), "budget": budget}
        folder = artifact_folder(self.out / "plans", self.name, asked)
        if (folder / PLAN).is_file():
            return dict(read_page_json(folder / PLAN))
        plan, seconds = self._affordable()
        count = f"{len(plan['variants'])} of {len(self.variants)} variants"
        if self._full_training is None:
            self.say(f"{count}, in the shortest rounds, however long: {self.out} has trainings, but not their times")
        else:
            self.say(f"{count} fit the budget, {about(seconds)} in all")
        write_files({PLAN: page_json(plan)}, folder, asked)
        return plan

    def _can_have(self, arm: str, key: str) -> bool:
        """Return whether an arm may have a key of `over`, such as an augmentation: a linear probe has none."""
        section, name, *_ = [*key.split("."), ""]
        # An unknown key is an error later.
        if section != TRAIN or name not in TrainConfig.model_fields:
            return True
        return name in type(self.recipe.train_of(self.recipe.arm(arm))).used()

    def _choosing_sets(self, data: StudyData) -> tuple[str, ...]:
        own = [data.shifted_val.name] if data.shifted_val else []
        known = [name for name in data.shifts if name not in data.derived]
        on = self.config.choose_by or tuple(own)
        unknown = [name for name in on if name not in (*known, *own)]
        copied = [name for name, shift in self.recipe.data.shifts.items() if getattr(shift, "of", None) in on]
        tested = set(self.recipe.evaluate.tests or data.tests)
        if not on:
            problem = "the data has no shifted validation set. Name a shifted test set, which is then not tested on"
        elif unknown:
            problem = f"no shifted test set {unknown[0]!r} of images of its own"
        elif copied:
            problem = f"data.shifts.{copied[0]} makes test sets of the images that choose: give it another `of`"
        elif not tested.intersection(data.shifts).difference(on):
            problem = "no other shifted test set is left to test on: leave one out"
        else:
            return on
        raise UserError(f"tune.choose_by: {problem}; there are {', '.join(known)}")

    def _derived(self, arms: Iterable[Variant], **changes: Any) -> Recipe:
        """Return the recipe with other `arms` and with `changes`, without keys that only its own report needs."""
        datasets = dict(self.raw["datasets"])
        raw_arms = []
        for variant in arms:
            datasets |= variant.datasets
            raw_arms.append({**variant.arm, "group": None})
        raw = {
            **self.raw,
            **dict.fromkeys(("quality", "zero_shot", "answer")),
            "claims": [],
            "track": False,
            "robustness": {**self.raw["robustness"], "baselines": None, "grid": 0},
            "datasets": datasets,
            "arms": raw_arms,
            # The sets that choose then hold no copies of test images.
            "tune": {"choose_by": list(self.on)},
        }
        return parse_recipe({**raw, **changes}, where=f"{self.recipe.name}: tune.over")

    def _new(self, changed: Iterable[Variant]) -> list[Variant]:
        """Return the variants whose training differs from the arms of the recipe and from each other."""

        def training_of(variant: Variant) -> tuple[Any, ...]:
            arm = self.all_arms.arm(variant.name)
            return arm.mixture, self.all_arms.train_of(arm).effective

        known = [training_of(variant) for variant in self.own]
        new = []
        for variant in changed:
            training = training_of(variant)
            if training not in known:
                known.append(training)
                new.append(variant)
        return new

    def _study(self, arms: Iterable[Variant], **changes: Any) -> Study:
        """Return the study of `arms` on the images that choose, however few these are."""
        tests = {**self.raw["evaluate"], "tests": list(self.on), "beside": [], "min_images": 1}
        recipe = self._derived(arms, name=self.name, evaluate=tests, **changes)
        return Study(recipe, self.out, self.command, self.say, self.executor)

    def _shortened(self, variant: Variant, share: float) -> tuple[Variant, str]:
        """Return a variant that trains for a share of its time, and that time in words."""
        train = self.all_arms.train_of(self.all_arms.arm(variant.name))
        length: dict[str, Any] = {}
        if train.probes == "only":
            words = "a linear probe"
        elif train.steps is not None:
            steps = max(round(train.steps * share), min(SHORTEST, train.steps))
            length = {"steps": steps, "epochs": None}
            words = f"{steps} steps"
        else:
            epochs = None if train.epochs is None else train.epochs * share
            length = {"steps": None, "epochs": epochs}
            words = f"{epochs:.3g} epochs"
        name = f"{variant.name}, {words}"
        arm = {**variant.arm, "name": name, "train": {**variant.arm["train"], **length}}
        return replace(variant, name=name, arm=arm), words

    def _round(self, entered: Iterable[str], share: float) -> tuple[Study, dict[TrainingRun, tuple[str, str]]]:
        """Return the study of a round, and its trainings, each with its variant and its length in words."""
        # Other arms may start from the recipe's own arms.
        arms = list(self.own)
        entries: dict[str, tuple[str, str]] = {}
        for name in entered:
            variant, words = self._shortened(self.variants[name], share)
            arms.append(variant)
            entries[variant.name] = (name, words)
        study = self._study(arms, seeds=self.raw["seeds"][:1])
        return study, {run: entries[run.of] for run in study.runs() if run.of in entries}

    def _affordable(self) -> tuple[dict[str, list[Any]], float]:
        """Return the longest rounds that fit with all variants, or the shortest with the most, and all seconds."""
        names = list(self.variants)
        own_seeds = self.raw["seeds"]
        further = [max(own_seeds) + i for i in range(1, self.config.seeds)]
        seeds = [*own_seeds, *further][: self.config.seeds]
        options = [(LADDERS[-1], 2, seeds), (LADDERS[-1], 2, seeds[:2])]
        if self._full_training:
            options = [*((shares, len(names), seeds) for shares in LADDERS[:-1]), *options]
        for shares, fewest, chosen in options:
            seconds = self._timer(shares, len(chosen))
            fitting = bisect_right(range(fewest, len(names) + 1), self.budget, key=seconds)
            if fitting:
                count = fewest + fitting - 1
                return {"shares": list(shares), "variants": names[:count], "seeds": chosen}, seconds(count)
        shortest = seconds(2)
        command = re.sub(r"--budget[ =]\S+", f"--budget {math.ceil(SPARE * shortest / 60)}m", self.command)
        raise UserError(f"--budget: the shortest tuning takes {about(shortest)} here; to run it:\n{command}")

    @cached_property
    def _full_training(self) -> float | None:
        """The seconds of a whole training of the recipe's own arm. Trains for a short time if none was timed yet.

        None if that training was made before, and its time is lost.
        """
        study = self._study(self.own)
        default = next(run for run in study.runs() if run.of == self.default)
        step = study.plan.classifier(replace(default.tuned, seed=NEW_SEED))
        (row,) = list_rows([step])
        # A rough estimate is better than none: without it, the budget would limit nothing.
        seconds = row.seconds(is_rough=True)
        if seconds is None:
            self.say(f"first a short training, since none has been timed in {self.out}")
            short, runs = self._round([self.recipe.reference], min(1, SHORTEST / row.total))
            short.predictions(list(runs))
            seconds = row.seconds(is_rough=True)
        return seconds

    def _timer(self, shares: Sequence[float], seeds: int) -> Callable[[int], float]:
        """Return a function from a number of variants to the seconds of tuning. Unknown rates count as nothing."""
        workers = self.executor.workers()
        full = self._full_training or 0.0
        study, runs = self._round(self.variants, shares[0])
        always = self._with_needed({self.default, self.recipe.reference})
        last_trainings = (len(always) + FINALISTS) * seeds

        def seconds(count: int) -> float:
            total, _ = seconds_left(list_rows(study.plan.steps_for(list(runs)[:count])), is_rough=True)
            for number, share in enumerate(shares[1:], 1):
                total += math.ceil(count / KEPT**number / workers) * full * share
            return total + math.ceil(last_trainings / workers) * full

        return seconds

    def _with_needed(self, names: set[str]) -> list[Variant]:
        """Return the variants `names`, and the variants that they start from, are compared with, or are judged by.

        If one of them retrieves as many images as are generated, an arm that mixes generated images is also needed.
        """
        needed: set[str | None] = set()
        for arm in map(self.all_arms.arm, names):
            needed |= {self.all_arms.train_of(arm).origin_arm, arm.reference}
            sources = {part.source for part in arm.mixture}
            for rule in map(self.all_arms.filter_of, sources):
                if rule is not None and rule.by == "classifier":
                    needed.add(rule.arm)
            if sources & MATCHED:
                needed.add(self._first_arm_with_generated())
        more = {name for name in needed if name is not None} - names
        if more:
            return self._with_needed(names | more)
        return [variant for name, variant in self.variants.items() if name in names]

    def _first_arm_with_generated(self) -> str | None:
        for arm in self.recipe.arms:
            if any(part.source == self.recipe.first_generated_set for part in arm.mixture):
                return arm.name
        return None

    def _finish(self, best: Sequence[str], seeds: Sequence[int], trials: list[Trial]) -> Tuned:
        """Train the best variants and the recipe's own arm to their end, report, and write the recipe."""
        arms = self._with_needed({self.recipe.reference, self.default, *best})
        alike = [replace(variant, arm={**variant.arm, "reference": None}) for variant in arms]
        self.say(f"last round: {', '.join(best)} beside {self.default}, {len(seeds)} seeds")

        def study_of(answer: str) -> Study:
            return self._study(
                alike,
                seeds=seeds,
                reference=self.default,
                answer=answer,
                title=f"{self.recipe.name}: does a variant help on {', '.join(self.on)}?",
                question="",
            )

        study = study_of(best[0])
        summary, files = study.run()
        where = MEAN_OF_SHIFTS if summary.shifts else self.on[0]
        winner = max(best, key=lambda name: summary.score("top1", name, where).value)
        # Everything is made: report about the better one.
        if winner != best[0]:
            study = study_of(winner)
            summary, files = study.run()
        gain = summary.difference("top1", winner, self.default, where)
        assert gain is not None  # the default is the reference of all
        recipe = self._tuned_recipe(winner, gain, seeds)
        head = f"# By genrobust tune {self.recipe.name}, chosen on {', '.join(self.on)}, which it does not test on.\n"
        contents = {
            f"{recipe.name}.yaml": head + recipe_yaml(recipe, study.report_folder),
            TRIALS: "".join(map(csv_line, [("round", "variant", "trained", "top1"), *trials])),
        }
        written = write_files(contents, study.report_folder)
        files = {**files, "recipe": written[f"{recipe.name}.yaml"], "trials": written[TRIALS]}
        return Tuned(winner, self.default, gain, self.on, files)

    def _tuned_recipe(self, winner: str, gain: Score, seeds: Sequence[int]) -> Recipe:
        """Return the recipe with the best variant. It does not test on the images that chose."""
        answer = None if self.default == self.recipe.reference else self.default
        if gain.lo > 0:
            answer = winner
        evaluate = self.raw["evaluate"]
        beside = [name for name in evaluate["beside"] if name not in self.on]
        return self._derived(
            self._with_needed({self.recipe.reference, self.default, winner}),
            name=f"{self.recipe.name}-tuned",
            seeds=max(seeds, self.raw["seeds"], key=len),
            answer=answer,
            evaluate={**evaluate, "tests": self.tests, "beside": beside},
            **{key: self.raw[key] for key in ("robustness", "quality", "zero_shot", "track")},
        )
