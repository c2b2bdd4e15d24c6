"""Trains variants of a recipe's arms briefly, the better ones longer, and the best several times.

A round keeps one of three variants and trains them three times as long (successive halving; Jamieson and Talwalkar,
2016, arXiv:1502.07943). The more the budget allows, the longer is the first round. Every training is an artifact of the
output folder, so that a rerun goes on where it was: the order of the variants is drawn once, and no optimizer has to
keep a journal.
"""

from __future__ import annotations

import math
import random
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import islice
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
from genrobust.study import Local, Study, TrainingRun, list_rows, seconds_left
from genrobust.tools.tune.variants import Variant, variants

FINALISTS = 2  # variants that the last round compares
KEPT = 3  # one of so many variants of a round enters the next, which trains so many times as long
# Shares of a training in the rounds before the last: the first that the budget allows.
LADDERS: tuple[tuple[float, ...], ...] = ((1,), (1 / KEPT,), (1 / KEPT**2, 1 / KEPT))
SHORTEST = 100  # steps of a training in a round: fewer favor the arms with the fewest images
NEW_SEED = 2**31  # of a training that is not there, which is looked at for its time
SPARE = 1.05  # of the smallest budget that is proposed: an estimate may rise a little until the next command
MATCHED = {RETRIEVED, RETRIEVED_BY_CLASS, RETRIEVED_BY_SEARCH}  # to the images that arms of the recipe generate
BEST = 5  # variants that are printed after a round
PLAN, TRIALS = "plan.json", "trials.csv"

Trial = tuple[int, str, str, float]  # a round, a variant, how long it trained, and its top-1 on the images that choose


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning found.

    Attributes:
        best: The best variant of the last round, and `default` the recipe's own arm; `gain` is the difference on the
            images that chose, `on`, over all seeds.
        files: The files of the last round's report, and "recipe" for the written recipe.
    """

    best: str
    default: str
    gain: Score
    on: tuple[str, ...]
    files: Mapping[str, Path]


class Tuning:
    """The tuning of `recipe` in the folder `out`, of about `budget` seconds; `command` is what its report quotes."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path | str,
        budget: float,
        executor: Local,
        command: str,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.recipe, self.out, self.budget, self.executor = recipe, local_folder(out), budget, executor
        self.command, self.say = command, cache(say)  # each study would repeat what is the same for all
        self.config, self.name = recipe.tune or TuneConfig(), f"{recipe.name}-tune"
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
        entered, trials, metric = plan["variants"], list[Trial](), image_metric("top1")
        for number, share in enumerate(plan["shares"], 1):
            self.say(f"round {number}: {len(entered)} variants")
            study, runs = self._round(entered, share)
            scores = [np.mean([metric.value(of[test]) for test in self.on]) for of in study.predictions(list(runs))]
            done = [
                (number, *of_run, round(float(score), 4)) for of_run, score in zip(runs.values(), scores, strict=True)
            ]
            done.sort(key=lambda trial: -trial[-1])
            trials += done
            others = [name for _, name, _, _ in done if name != self.default]
            kept = math.ceil(len(done) / KEPT) if number < len(plan["shares"]) else 0
            entered = others[: max(kept, FINALISTS)]
            self.say(f"the best: {'; '.join(f'{name} ({score:.1f} %)' for _, name, _, score in done[:BEST])}")
        return self._finish(entered, plan["seeds"], trials)

    def plan(self) -> dict[str, list[Any]]:
        """Return what the budget allows: the shares of a training by round, the first variants, and the last seeds.

        It is kept, so that a rerun goes on with the same.
        """
        budget = {"seconds": self.budget, "ladders": LADDERS}
        asked = {"recipe": self.raw, "tune": self.config.model_dump(mode="json"), "budget": budget}
        folder = artifact_folder(self.out / "plans", self.name, asked)
        if (folder / PLAN).is_file():
            return dict(read_page_json(folder / PLAN))
        plan, seconds = self._affordable()
        count = f"{len(plan['variants'])} of {len(self.variants)} variants fit the budget"
        self.say(f"{count}, {about(seconds)} in all")
        write_files({PLAN: page_json(plan)}, folder, asked)
        return plan

    def _can_have(self, arm: str, key: str) -> bool:
        """Return whether an arm may have a key of `over`, such as an augmentation: a linear probe has none."""
        section, name, *_ = [*key.split("."), ""]
        if section != TRAIN or name not in TrainConfig.model_fields:  # what is no key at all is an error
            return True
        return name in type(self.recipe.train_of(self.recipe.arm(arm))).used()

    def _choosing_sets(self, data: StudyData) -> tuple[str, ...]:
        """The names of the test sets that choose."""
        own = [data.shifted_val.name] if data.shifted_val else []
        known = [name for name in data.shifts if name not in data.derived]
        on = self.config.choose_by or tuple(own)
        copied = [name for name, shift in self.recipe.data.shifts.items() if getattr(shift, "of", None) in on]
        if not on:
            problem = "the data has no shifted validation set. Name a shifted test set, which is then not tested on"
        elif unknown := [name for name in on if name not in (*known, *own)]:
            problem = f"no shifted test set {unknown[0]!r} of images of its own"
        elif copied:
            problem = f"data.shifts.{copied[0]} makes test sets of the images that choose: give it another `of`"
        elif not {*(self.recipe.evaluate.tests or data.tests)}.intersection(data.shifts).difference(on):
            problem = "no other shifted test set is left to test on: leave one out"
        else:
            return on
        raise UserError(f"tune.choose_by: {problem}; there are {', '.join(known)}")

    def _derived(self, arms: Iterable[Variant], **changes: Any) -> Recipe:
        """The recipe with other `arms`, without what only its own report needs, and with `changes`."""
        listed = list(arms)
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

    def _new(self, changed: Iterable[Variant]) -> list[Variant]:
        """The variants that train otherwise than the recipe's arms: a value may be the recipe's, and two arms alike."""

        def trained(variant: Variant) -> tuple[Any, ...]:
            arm = self.all_arms.arm(variant.name)
            return arm.mixture, self.all_arms.train_of(arm).effective

        known, new = [trained(variant) for variant in self.own], list[Variant]()
        for variant in changed:
            if (training := trained(variant)) not in known:
                known.append(training)
                new.append(variant)
        return new

    def _study(self, arms: Iterable[Variant], **changes: Any) -> Study:
        """The study of `arms` on the images that choose."""
        tests = {**self.raw["evaluate"], "tests": list(self.on), "beside": [], "min_images": 1}  # all of them choose
        recipe = self._derived(arms, name=self.name, evaluate=tests, **changes)
        return Study(recipe, self.out, self.command, self.say, self.executor)

    def _shortened(self, variant: Variant, share: float) -> tuple[Variant, str]:
        """A variant that trains for a share of its time, and that time in words; a linear probe has no steps."""
        train = self.all_arms.train_of(self.all_arms.arm(variant.name))
        length, words = dict[str, Any](), "a linear probe"
        if train.probes != "only":
            steps = None if train.steps is None else max(round(train.steps * share), min(SHORTEST, train.steps))
            epochs = None if train.epochs is None else train.epochs * share
            length |= {"steps": steps, "epochs": epochs}
            words = f"{epochs:.3g} epochs" if steps is None else f"{steps} steps"
        name = f"{variant.name}, {words}"
        arm = {**variant.arm, "name": name, "train": {**variant.arm["train"], **length}}
        return replace(variant, name=name, arm=arm), words

    def _round(self, entered: Iterable[str], share: float) -> tuple[Study, dict[TrainingRun, tuple[str, str]]]:
        """The study of a round, and its trainings, each with its variant and its length in words.

        The recipe's own arms are in it: others may start from them.
        """
        short = {name: self._shortened(self.variants[name], share) for name in entered}
        study = self._study([*self.own, *(variant for variant, _ in short.values())], seeds=self.raw["seeds"][:1])
        of = {variant.name: (name, words) for name, (variant, words) in short.items()}
        return study, {run: of[run.of] for run in study.runs() if run.of in of}

    def _affordable(self) -> tuple[dict[str, list[Any]], float]:
        """The longest rounds that fit with all variants, or the shortest with the most; and the seconds of all."""
        names, own_seeds = list(self.variants), self.raw["seeds"]
        further = [max(own_seeds) + i for i in range(1, self.config.seeds)]
        seeds = [*own_seeds, *further][: self.config.seeds]
        longer = [(shares, len(names), seeds) for shares in LADDERS[:-1]] if self._full_training else []
        for shares, fewest, chosen in [*longer, (LADDERS[-1], 2, seeds), (LADDERS[-1], 2, seeds[:2])]:
            seconds = self._timer(shares, len(chosen))
            if fitting := bisect_right(range(fewest, len(names) + 1), self.budget, key=seconds):
                count = fewest + fitting - 1
                return {"shares": list(shares), "variants": names[:count], "seeds": chosen}, seconds(count)
        shortest = seconds(2)
        command = re.sub(r"--budget[ =]\S+", f"--budget {math.ceil(SPARE * shortest / 60)}m", self.command)
        raise UserError(f"--budget: the shortest tuning takes {about(shortest)} here; to run it:\n{command}")

    @cached_property
    def _full_training(self) -> float | None:
        """The seconds that a whole training of the recipe's own arm takes; None where its rate is unknown."""
        study = self._study(self.own)
        default = next(run for run in study.runs() if run.of == self.default)
        step = study.plan.classifier(replace(default.tuned, seed=NEW_SEED))
        (row,) = list_rows([step])
        return row.seconds()

    def _timer(self, shares: Sequence[float], seeds: int) -> Callable[[int], float]:
        """Tells how long tuning takes with so many variants; unknown rates count as nothing."""
        workers, full = self.executor.workers(), self._full_training or 0.0
        study, runs = self._round(self.variants, shares[0])
        last = (len(self._with_needed({self.default, self.recipe.reference})) + FINALISTS) * seeds

        def seconds(count: int) -> float:
            first, _ = seconds_left(list_rows(study.plan.steps_for(list(runs)[:count])))
            later = [math.ceil(count / KEPT**i / workers) * full * share for i, share in enumerate(shares) if i]
            return first + sum(later) + math.ceil(last / workers) * full

        return seconds

    def _with_needed(self, names: set[str]) -> list[Variant]:
        """The variants called `names`, and those that they start from, are compared with, or are judged by.

        Where one of them retrieves as many images as are generated, so is an arm that mixes these.
        """
        needed, first = set[str](), self.recipe.first_generated_set
        for arm in map(self.all_arms.arm, names):
            sources = {part.source for part in arm.mixture}
            rules = map(self.all_arms.filter_of, sources)
            needed |= {rule.arm for rule in rules if rule is not None and rule.by == "classifier"}
            needed |= {other for other in (self.all_arms.train_of(arm).origin_arm, arm.reference) if other is not None}
            if sources & MATCHED:
                mixes = (of.name for of in self.recipe.arms if first in {part.source for part in of.mixture})
                needed |= {*islice(mixes, 1)}
        if needed - names:
            return self._with_needed(names | needed)
        return [variant for name, variant in self.variants.items() if name in names]

    def _finish(self, best: Sequence[str], seeds: Sequence[int], trials: list[Trial]) -> Tuned:
        """Train the best variants and the recipe's own arm to their end, report, and write the recipe."""
        always = {self.recipe.reference, self.default}
        arms = self._with_needed(always.union(best))
        self.say(f"last round: {', '.join(best)} beside {self.default}, {len(seeds)} seeds")

        def study_of(answer: str) -> Study:
            return self._study(
                [replace(variant, arm={**variant.arm, "reference": None}) for variant in arms],
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
        if winner != best[0]:  # all is made, and the report is about the better one
            study = study_of(winner)
            summary, files = study.run()
        gain = summary.difference("top1", winner, self.default, where)
        assert gain is not None  # the default is the reference of all
        evaluate = self.raw["evaluate"]
        recipe = self._derived(
            self._with_needed(always | {winner}),
            name=f"{self.recipe.name}-tuned",
            seeds=max(seeds, self.raw["seeds"], key=len),
            answer=winner if gain.lo > 0 else self.default if self.default != self.recipe.reference else None,
            evaluate={**evaluate, "tests": self.tests, "beside": [n for n in evaluate["beside"] if n not in self.on]},
            **{key: self.raw[key] for key in ("robustness", "quality", "zero_shot", "track")},
        )
        head = f"# By genrobust tune {self.recipe.name}, chosen on {', '.join(self.on)}, which it does not test on.\n"
        contents = {
            f"{recipe.name}.yaml": head + recipe_yaml(recipe, study.report_folder),
            TRIALS: "".join(map(csv_line, [("round", "variant", "trained", "top1"), *trials])),
        }
        written = write_files(contents, study.report_folder)
        files = {**files, "recipe": written[f"{recipe.name}.yaml"], "trials": written[TRIALS]}
        return Tuned(winner, self.default, gain, self.on, files)
