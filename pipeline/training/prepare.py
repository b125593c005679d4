"""Everything before the first step of a training: its photos decoded, its recipe chosen, its model built.

survey -> input -> decode -> probe: depth, head, orientation -> measured step: blocks to train, epochs
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from safetensors.torch import load_file

from pipeline.labelled.splits import LabelledPhoto, split_counts
from pipeline.model.architecture import size_pair, vision_config
from pipeline.training.backbone import TrainableClassifier, build_classifier, build_processor
from pipeline.training.checkpoints import save_weights
from pipeline.training.choose_recipe import (
    Budget,
    InputFacts,
    TrainingFacts,
    choose_goal,
    choose_input_size,
    choose_resize,
    choose_training,
    count_probed_photos,
    time_forward,
)
from pipeline.training.config import FinetuneConfig
from pipeline.training.data import TrainingData, build_training_data
from pipeline.training.device import TrainingDevice
from pipeline.training.findings import Findings, find_doubts, read_findings, write_findings
from pipeline.training.folders import TrainingFolders
from pipeline.training.layer_rates import freeze_below
from pipeline.training.measure_saved import count_measured_photos
from pipeline.training.pixel_cache import CachedSplit
from pipeline.training.recipe import Recipe, plain_recipe, read_recipe, write_recipe
from pipeline.training.starting_point import Embedder, find_starting_point
from pipeline.training.survey import survey_sizes

log = logging.getLogger(__name__)

_START_FILE = "start.safetensors"  # the weights before the first step


@dataclass(frozen=True)
class PreparedTraining:
    """A training before its first step.

    Attributes:
        recipe: all settings.
        classifier: with its lower blocks frozen.
        splits: the decoded photos.
        processor: image processor of the new model.
        data: the data sets.
        findings: doubts about the data.
    """

    recipe: Recipe
    classifier: TrainableClassifier
    splits: dict[str, CachedSplit]
    processor: Any
    data: TrainingData
    findings: Findings

    @property
    def photos(self) -> list[LabelledPhoto]:
        """The readable photos of all splits."""
        return [photo for split in self.splits.values() for photo in split.photos]


class TrainingPreparation:
    """Chooses the recipe of a training, or finds that of an unfinished one."""

    def __init__(self, config: FinetuneConfig, labels: Sequence[str], folders: TrainingFolders, budget: Budget) -> None:
        """Set up.

        Args:
            config: all settings.
            labels: class names by id.
            folders: the places of the training.
            budget: its time.
        """
        self._config, self._labels, self._folders, self._budget = config, labels, folders, budget
        self._device = TrainingDevice.choose(config.precision)
        self._chosen = read_recipe(folders.work)

    def prepare(
        self,
        photos: Sequence[LabelledPhoto],
        decode: Callable[[dict[str, Any]], dict[str, CachedSplit]],
        check: Callable[[dict[str, CachedSplit]], None],
    ) -> PreparedTraining:
        """Decode the photos, choose the recipe and build the model.

        Args:
            photos: with their splits.
            decode: gives the pixels of each split for its image processor.
            check: refuses unsuitable splits, after the unreadable photos are left out.
        """
        recipe = self._chosen or plain_recipe(self._config)
        is_open = self._chosen is None and self._config.recipe == "auto"
        if is_open:
            recipe = self._choose_input(recipe, photos)
        processors = self._build_processors(recipe, photos)
        splits = decode(processors)
        check(splits)
        classifier = self._build_classifier(recipe)
        freeze_below(classifier.model, recipe.train_blocks)  # refuses too many blocks before the probe
        if is_open:
            recipe, classifier = self._choose_start(recipe, classifier, splits, processors["validation"])
            freeze_below(classifier.model, recipe.train_blocks)
        if self._chosen is None:  # the recipe last: with it, everything else is there
            save_weights(classifier.model, self._folders.work / _START_FILE)
            write_recipe(recipe, self._folders.work)
        else:
            classifier.model.load_state_dict(load_file(self._folders.work / _START_FILE))
        data = build_training_data(recipe, classifier.labels, splits, processors["validation"])
        findings = read_findings(self._folders.work)
        return PreparedTraining(recipe, classifier, splits, processors["validation"], data, findings)

    def _choose_input(self, recipe: Recipe, photos: Sequence[LabelledPhoto]) -> Recipe:
        """Choose resize and input size by the sizes of the photos, and the time of a forward pass."""
        config = self._config
        sizes = self._survey_sizes(recipe, photos)
        if not sizes:
            return recipe  # decoding all of them will say more
        recipe = choose_resize(config, recipe, sizes)
        classifier = self._build_classifier(replace(recipe, blocks=None))
        vision = vision_config(classifier.model.config)
        if classifier.head_kept and not classifier.new_classes:
            reason = "as the starting model, which knows these classes"
            return recipe.choose(config, reason, input_size=classifier.input_size_before)
        facts = InputFacts(
            sides=[(max if recipe.resize == "pad" else min)(size) for size in sizes],
            patch=max(size_pair(vision.patch_size)),
            photos=split_counts(photos)["train"].total(),
            forward=time_forward(classifier.model, recipe.input_size, self._device),
            left=self._budget.left(),
        )
        return choose_input_size(config, recipe, facts)

    def _survey_sizes(self, recipe: Recipe, photos: Sequence[LabelledPhoto]) -> list[tuple[int, int]]:
        if self._config.tile is not None:
            return [(self._config.tile, self._config.tile)]
        return survey_sizes(photos, build_processor(self._folders.start, recipe.input_size), self._folders.stop)

    def _choose_start(
        self, recipe: Recipe, classifier: TrainableClassifier, splits: dict[str, CachedSplit], processor: Any
    ) -> tuple[Recipe, TrainableClassifier]:
        """Choose the goal, the starting point, and the course of the training."""
        config = self._config
        counts = split_counts(photo for split in splits.values() for photo in split.photos)
        recipe = choose_goal(config, recipe, classifier.labels, counts)
        explained = 1.0
        if all(counts["train"][label] for label in classifier.labels):
            data = build_training_data(recipe, classifier.labels, splits, processor)
            photos = {split: cached.photos for split, cached in splits.items()}
            forward = time_forward(classifier.model, recipe.input_size, self._device)
            most = count_probed_photos(max(map(len, photos.values())), forward, self._budget.left())
            embedder = Embedder(recipe, data, photos, most, self._folders.stop)
            start = find_starting_point(config, recipe, classifier, embedder, self._build_classifier)
            recipe, classifier, explained = start.recipe, start.classifier, start.explained
            test = embedder.embed(classifier.model, "test") if "test" in splits else None
            write_findings(find_doubts(start, test, seeks_siblings=config.tile is None), self._folders.work)
        photos_in = {split: per_label.total() for split, per_label in counts.items()}
        measured = count_measured_photos(photos_in)
        facts = TrainingFacts(explained, photos_in["train"], photos_in["validation"], measured, self._budget.left())
        recipe = choose_training(config, recipe, classifier.model, facts)
        return replace(recipe, judges_start=True), classifier

    def _build_processors(self, recipe: Recipe, photos: Sequence[LabelledPhoto]) -> dict[str, Any]:
        """Build the image processor of each split; training photos stay larger, to be cropped."""
        sizes = dict.fromkeys(split_counts(photos), recipe.input_size)
        sizes["train"] = recipe.augmentation.cache_size(recipe.input_size)
        return {split: build_processor(self._folders.start, size, recipe.resize) for split, size in sizes.items()}

    def _build_classifier(self, recipe: Recipe) -> TrainableClassifier:
        return build_classifier(
            self._folders.start, self._labels, input_size=recipe.input_size, blocks=recipe.blocks, seed=recipe.seed
        )
