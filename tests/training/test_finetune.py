"""Fine-tuning: interrupted and resumed as real processes, every family, what is saved, and what is refused."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForImageClassification

import pipeline
from pipeline.errors import ConfigError, DataError, FolderBusyError, ModelError, StoppedError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.evaluate import evaluate
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.training.augment import Augmentation
from pipeline.training.backbone import build_classifier, resample_positions
from pipeline.training.config import FinetuneConfig
from pipeline.training.finetune import finetune
from pipeline.training.layer_rates import freeze_below, parameter_groups
from pipeline.training.loop import Checkpoints, has_stalled
from pipeline.training.setup import build_trainer, split_dataset
from pipeline.training.trainer import EpochOrder
from pipeline.training.work_folder import open_work_folder
from tests.helpers.tiny_models import TINY_MODELS

CLASSES = ("bar", "dot", "ok")


def save_marked_photos(folder, count=10, seed=0):
    """Photos of three classes that a tiny model can tell apart, `count` of each."""
    random = np.random.default_rng(seed)
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        for index in range(count):
            grey = random.normal(110, 12, (52, 60, 3)).clip(0, 255).astype(np.uint8)
            photo = Image.fromarray(grey)
            x, y = random.integers(4, 28, 2).tolist()
            if label == "dot":
                ImageDraw.Draw(photo).ellipse((x, y, x + 20, y + 20), fill="white")
            if label == "bar":
                ImageDraw.Draw(photo).rectangle((x, y, x + 28, y + 8), fill="black")
            photo.save(folder / label / f"{index:02d}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return save_marked_photos(tmp_path_factory.mktemp("marked") / "photos")


@pytest.fixture
def settings(photos, tiny_checkpoint, tmp_path):
    """Settings of a fine-tuning that takes a second, with changes."""

    def make(**changes):
        quick = {"input_size": 32, "epochs": 1, "batch_size": 16, "precision": "fp32", "learning_rate": 1e-3}
        start = {"data": photos, "out": tmp_path / "out", "model": str(tiny_checkpoint("vit"))}
        return FinetuneConfig(**start | quick | changes)

    return make


def plain_logits(folder, files):
    """What transformers alone says, with nothing of ours."""
    network = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    pictures = [Image.open(file).convert("RGB") for file in files]
    with torch.no_grad():
        return network(**processor(pictures, return_tensors="pt")).logits.numpy(), network.config


# Interruption and resume


def command(photos, model, out):
    arguments = (
        "--input-size 32 --epochs 4 --batch-size 4 --precision fp32 --learning-rate 1e-3 --checkpoint-seconds 0.001"
    )
    return [
        *(sys.executable, "-m", "jobs.cli", "finetune", str(photos), "--model", str(model), "--out", str(out)),
        *arguments.split(),
    ]


def stop_at(arguments, words, number):
    """Start the command, send it a signal once it has said these words; its exit code and what it said."""
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    said = []
    for line in process.stderr:
        said.append(line)
        if words in line:
            os.kill(process.pid, number)
            break
    rest, errors = process.communicate()
    assert rest == "", "it went on to the end"
    return process.returncode, "".join(said) + errors


def test_interrupted_killed_and_resumed_is_the_same_as_never_stopped(photos, tiny_checkpoint, tmp_path):
    out, model = tmp_path / "stopped", tiny_checkpoint("vit")
    arguments = command(photos, model, out)
    code, said = stop_at(arguments, "step 2 of", signal.SIGINT)
    assert code == 130, said
    assert said.splitlines()[-1].endswith("which is saved; run the same command to go on")
    assert "Traceback" not in said
    code, said = stop_at(arguments, "step 9 of", signal.SIGKILL)
    assert code == -9, said
    assert "going on from step" in said
    cut_off = max((out / ".finetune").glob("checkpoint-*"), key=lambda folder: int(folder.name[11:]))
    (cut_off.with_name("checkpoint-9999")).mkdir()  # as a kill in the middle of saving leaves it: not whole

    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "going on from step" in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["epochs"] == 4
    assert not (out / ".finetune").exists()

    finetune(
        FinetuneConfig(
            **{"data": photos, "model": str(model), "out": tmp_path / "whole", "input_size": 32, "epochs": 4},
            **{"batch_size": 4, "precision": "fp32", "learning_rate": 1e-3},
        )
    )
    resumed, whole = (load_file(folder / "model.safetensors") for folder in (out, tmp_path / "whole"))
    assert resumed.keys() == whole.keys()
    for name, weights in whole.items():
        torch.testing.assert_close(resumed[name], weights, rtol=1e-4, atol=1e-6, msg=name)


def test_from_interrupted_training_to_results(photos, tiny_checkpoint, tmp_path):
    """Train, be interrupted, go on, measure on the photos held out, run: by the commands alone."""
    out, evaluation, results = tmp_path / "model", tmp_path / "evaluation", tmp_path / "results"
    arguments = command(photos, tiny_checkpoint("vit"), out)
    code, said = stop_at(arguments, "step 3 of", signal.SIGTERM)
    assert code == 143, said
    cli = [sys.executable, "-m", "jobs.cli"]
    commands = {
        "finetune": arguments,
        "evaluate": [*cli, "evaluate", photos, "--model", out, "--out", evaluation, "--resamples", "10"],
        "run": [*cli, "run", photos, "--model", out, "--out", results],
    }
    said = {}
    for name, words in commands.items():
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said[name] = json.loads(done.stdout.splitlines()[-1])
    held_out = pd.read_csv(out / "split.csv").query("split == 'test'")
    assert said["evaluate"]["split"] == "test, by the model's split.csv"
    assert said["evaluate"]["photos"] == len(held_out) == said["finetune"]["photos"]["test"]
    judged = pd.read_parquet(evaluation / "predictions.parquet").set_index("path")
    assert sorted(judged.index) == sorted(held_out["path"])
    table = pipeline.read_results(results).set_index("path")
    assert len(table) == said["run"]["ok"] == sum(said["finetune"]["photos"].values())
    assert (table.loc[judged.index, "label"].astype(str) == judged["predicted"]).all()


def test_two_trainings_at_once(settings):
    config = settings()
    with open_work_folder(config, [], "digest"), pytest.raises(FolderBusyError) as caught:
        finetune(config)
    assert caught.value.exit_code == 75


def test_what_lies_in_the_folder_stays(settings, tmp_path):
    """Nothing in --out but the training's own folder is anybody's to clear."""
    (tmp_path / "out" / "work" / "checkpoint-1").mkdir(parents=True)
    finetune(settings())
    assert (tmp_path / "out" / "work" / "checkpoint-1").is_dir()
    assert not (tmp_path / "out" / ".finetune").exists()


def test_purpose_is_not_inherited(settings, tmp_path):
    finetune(settings(purpose="finds dents"))
    assert resolve_checkpoint(str(tmp_path / "out")).purpose == "finds dents"
    finetune(settings(model=str(tmp_path / "out"), out=tmp_path / "next"))
    assert resolve_checkpoint(str(tmp_path / "next")).purpose == "3 classes (bar, dot, ok)"


def test_dangling_link_is_left_out(settings, tmp_path, caplog):
    marked = save_marked_photos(tmp_path / "marked")
    (marked / "dot" / "gone.png").symlink_to("nowhere")
    assert finetune(settings(data=marked)).unreadable == 1
    assert "left out dot/gone.png" in caplog.text


def test_preprocessing_without_normalisation_is_the_same_in_a_run(settings, tiny_checkpoint, photos, tmp_path):
    start = tmp_path / "start"
    shutil.copytree(tiny_checkpoint("vit"), start)
    file = start / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"do_normalize": False, "image_mean": None}))
    found = finetune(settings(model=str(start)))
    measured = evaluate(
        EvaluateConfig(data=photos, model=str(tmp_path / "out"), out=tmp_path / "e", precision="fp32", resamples=0)
    )
    of_truth = measured.probabilities[np.arange(len(measured.truth)), measured.truth]
    assert -np.log(of_truth).mean() == pytest.approx(found.metrics["test"]["loss"], rel=1e-4)


def test_other_settings_do_not_go_on_with_an_unfinished_training(settings, tmp_path):
    saved = (tmp_path / "out").rglob
    with pytest.raises(StoppedError, match="run the same command"):
        finetune(settings(batch_size=4, checkpoint_seconds=1e-3), stop=lambda: any(saved("whole.json")))
    with pytest.raises(ConfigError, match=r"unfinished training .*\(learning_rate was 0.001, is 0.002\)"):
        finetune(settings(batch_size=4, learning_rate=2e-3))
    finetune(settings(batch_size=4, learning_rate=2e-3, overwrite=True))
    assert (tmp_path / "out" / "config.json").is_file()


def test_a_finished_model_is_not_overwritten_unasked(settings, tmp_path):
    finetune(settings())
    with pytest.raises(ConfigError, match="holds a finished model"):
        finetune(settings())
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    finetune(settings(seed=1, overwrite=True))
    assert (tmp_path / "out" / "model.safetensors").read_bytes() != before


# What is saved


def test_saved_model_gives_the_same_numbers_everywhere(settings, photos, tmp_path):
    result = finetune(settings(epochs=3, save_dtype="fp16", notes=None))
    table = pd.read_csv(tmp_path / "out" / "split.csv")
    assert table.columns.tolist() == ["path", "label", "split"]
    assert table.groupby("split").size().to_dict() == {"test": 6, "train": 18, "validation": 6}
    chosen = table[table["split"] == "test"]
    logits, config = plain_logits(tmp_path / "out", [photos / name for name in chosen["path"]])
    assert tuple(config.id2label.values()) == CLASSES == result.labels
    truth = torch.tensor([config.label2id[label] for label in chosen["label"]])
    assert (logits.argmax(1) == truth.numpy()).mean() == pytest.approx(result.metrics["test"]["accuracy"])

    pipeline.run(pipeline.RunConfig(input=photos, out=tmp_path / "run", model=str(tmp_path / "out"), precision="fp32"))
    ran = pipeline.read_results(tmp_path / "run").set_index("path").loc[chosen["path"]]
    assert np.stack(list(ran["logits"])) == pytest.approx(logits, abs=1e-4)


def test_training_teaches(settings):
    result = finetune(settings(epochs=25, batch_size=8, learning_rate=3e-3, patience="none", crop=0, layer_decay=1))
    assert result.metrics["test"]["accuracy"] >= 0.8


def test_card_says_what_it_is(settings, tmp_path):
    (tmp_path / "notes.md").write_text("## Note\n\nfrom the third line")
    finetune(settings(licence="mit", purpose="tells marks apart", notes=tmp_path / "notes.md"))
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n")
    for words in (
        *("tells marks apart", "| bar | 6 | 2 | 2 |", "| all | 18 | 6 | 6 |", "| learning_rate | 0.001 |", "CPU cores"),
        *("(vit)", "a new head for 3 classes", "| validation | ", "from the third line", "Licence: mit"),
    ):
        assert words in card
    assert json.loads((tmp_path / "out" / "config.json").read_text())["vitrollout_purpose"] == "tells marks apart"


def test_unreadable_photos_are_named_and_left_out(settings, tmp_path, caplog):
    photos = save_marked_photos(tmp_path / "photos")
    (photos / "ok" / "03.png").write_bytes(b"broken")
    caplog.set_level("WARNING")
    result = finetune(settings(data=photos))
    assert result.unreadable == 1
    assert "left out ok/03.png: not an image of a supported format" in caplog.text
    assert "ok/03.png" not in pd.read_csv(tmp_path / "out" / "split.csv")["path"].tolist()


def test_class_that_unreadable_photos_leave_too_small(settings, tmp_path):
    photos = save_marked_photos(tmp_path / "photos", count=3)
    for name in ("00.png", "01.png"):
        (photos / "ok" / name).write_bytes(b"")
    with pytest.raises(DataError, match="fewer than two photos of 'ok'"):
        finetune(settings(data=photos))
    (photos / "ok" / "02.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"fewer than two photos of 'ok' \(0\)"):
        finetune(settings(data=photos))
    for name in ("00.png", "01.png", "02.png"):
        shutil.copy(photos / "dot" / name, photos / "ok" / name)
    assert finetune(settings(data=photos)).unreadable == 0  # nothing had been trained that it could not go on with


def test_a_full_disk_is_one_line_and_the_training_goes_on(photos, tiny_checkpoint, tmp_path):
    """A limit on the size of files stands for the disk: the weights fit, a checkpoint's optimizer does not."""
    arguments = command(photos, tiny_checkpoint("vit"), tmp_path / "out")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (260 * 1024, 260 * 1024))

    full = subprocess.run(arguments, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1].startswith(f"vitrollout: can't write {tmp_path / 'out' / '.finetune'}")
    assert "Traceback" not in full.stderr
    subprocess.run(arguments, capture_output=True, check=True)
    assert (tmp_path / "out" / "config.json").is_file()


def test_a_training_that_diverges_is_no_model(settings, tmp_path):
    with pytest.raises(ModelError, match="the loss is not finite; use a lower --learning-rate"):
        finetune(settings(learning_rate=1e30, warmup_share=0))
    assert not (tmp_path / "out" / "config.json").exists()


# The model that is trained


@pytest.mark.parametrize("name", TINY_MODELS)
def test_every_family_with_fewer_blocks_and_another_input_size(name, settings, tiny_checkpoint, photos, tmp_path):
    model = tiny_checkpoint(name)
    result = finetune(settings(model=str(model), blocks=2, input_size=64, batch_size=32))
    files = sorted((photos / "ok").iterdir())[:3]
    logits, config = plain_logits(tmp_path / "out", files)
    vision = getattr(config, "vision_config", config)
    assert (vision.num_hidden_layers, vision.image_size, logits.shape) == (2, 64, (3, 3))
    assert result.epochs == 1
    pipeline.run(
        pipeline.RunConfig(input=photos / "ok", out=tmp_path / "run", model=str(tmp_path / "out"), precision="fp32")
    )
    ran = pipeline.read_results(tmp_path / "run").set_index("path").loc[[file.name for file in files]]
    assert np.stack(list(ran["logits"])) == pytest.approx(logits, abs=1e-4)


@pytest.mark.parametrize("name", TINY_MODELS)
def test_unchanged_size_keeps_the_backbone(name, tiny_checkpoint):
    """Everything but the head comes from the checkpoint: features are those of the model as published."""
    folder = tiny_checkpoint(name)
    native = AutoModelForImageClassification.from_pretrained(folder, attn_implementation="eager").eval()
    built = build_classifier(folder, ["a", "b"], input_size=48, blocks=None, seed=0)
    assert not built.head_kept
    native_state = native.state_dict()
    for key, weights in built.model.state_dict().items():
        if "classifier" not in key:
            assert torch.equal(weights, native_state[key]), key


def test_head_is_kept_where_the_classes_are_the_same(settings, tiny_checkpoint, tmp_path):
    finetune(settings(out=tmp_path / "first"))
    again = build_classifier(tmp_path / "first", ["ok", "dot", "bar"], input_size=32, blocks=None, seed=5)
    assert again.head_kept
    assert again.labels == CLASSES  # in the order of the model, whatever order was asked for
    saved = load_file(tmp_path / "first" / "model.safetensors")
    assert torch.equal(again.model.classifier.weight, saved["classifier.weight"])
    other = build_classifier(tmp_path / "first", ["ok", "dot", "hole"], input_size=32, blocks=None, seed=5)
    assert not other.head_kept
    assert not torch.equal(other.model.classifier.weight, saved["classifier.weight"])


def test_positions_are_resampled_on_their_grid():
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    tokens = torch.cat([torch.full((2, 2), 99.0), torch.stack([rows.flatten(), columns.flatten()], 1)])
    fitted = resample_positions(tokens, (4, 6), (8, 12))
    assert torch.equal(fitted[:2], tokens[:2])
    grid = fitted[2:].view(8, 12, 2)[1:-1, 1:-1]
    assert (grid[..., 0].diff(dim=0) > 0).all()  # a ramp downwards is one still
    assert (grid[..., 1].diff(dim=1) > 0).all()
    assert grid[..., 0].diff(dim=1).abs().max() < 1e-5


def test_another_input_size_is_what_the_family_itself_makes_of_it(tiny_checkpoint):
    """DINOv2 interpolates positions on its own; stored for that size they must give the same features."""
    folder, pixels = tiny_checkpoint("dinov2"), torch.randn(2, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    native = AutoModelForImageClassification.from_pretrained(folder, attn_implementation="eager").eval()
    built = build_classifier(folder, ["a", "b"], input_size=80, blocks=None, seed=0).model.eval()
    with torch.no_grad():
        wanted, found = (model.dinov2(pixels).last_hidden_state for model in (native, built))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("train_blocks", "trained"), [(0, {}), (1, {"2"}), (2, {"1", "2"}), (None, {"0", "1", "2"})])
def test_only_the_wanted_blocks_are_trained(tiny_checkpoint, train_blocks, trained):
    model = build_classifier(tiny_checkpoint("dinov2"), ["a", "b"], input_size=48, blocks=None, seed=0).model
    freeze_below(model, train_blocks)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert {name.split(".")[3] for name in names if ".layer." in name} == set(trained)
    assert any("embeddings" in name for name in names) == (train_blocks is None)
    assert any("layernorm" in name for name in names) == (train_blocks != 0)
    assert "classifier.weight" in names


def test_what_is_not_trained_stays_as_it_was(settings, tiny_checkpoint, tmp_path):
    finetune(settings(train_blocks=1))
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_checkpoint("vit"), tmp_path / "out"))
    same = {name for name in before if name in after and torch.equal(before[name], after[name])}
    assert {name for name in before if "layer.0." in name or "layer.1." in name or "cls_token" in name} <= same
    assert not any("layer.2." in name and "weight" in name for name in same)


def test_settings_reach_the_trainer(settings, tiny_checkpoint, photos, tmp_path):
    config = settings(
        flips=False, quarter_turns=False, brightness=0.3, contrast=0.4, crop=0,
        layer_decay=0.5, weight_decay=0.07, warmup_share=0.3, label_smoothing=0.2, batch_size=5, epochs=7, seed=11,
    )  # fmt: skip
    classifier = build_classifier(tiny_checkpoint("vit"), CLASSES, input_size=32, blocks=None, seed=0)
    processor = AutoImageProcessor.from_pretrained(tiny_checkpoint("vit"), backend="pil")
    split = SimpleNamespace(photos=[SimpleNamespace(label="ok", weight=1.0)] * 10, cache=None, entries=range(10))
    splits = {"train": split, "validation": split}
    trainer = build_trainer(config, classifier, processor, splits, tmp_path, lambda: False)
    assert trainer.train_dataset.changes == Augmentation(False, False, 0.3, 0.4, 0)
    assert trainer.eval_dataset.changes is None
    groups = trainer.create_optimizer().param_groups
    assert sorted({group["lr"] for group in groups}) == [1e-3 * 0.5**depth for depth in (4, 3, 2, 1, 0)]
    assert {group["weight_decay"] for group in groups} == {0, 0.07}
    arguments = trainer.args
    assert (arguments.label_smoothing_factor, arguments.warmup_steps) == (0.2, 0.3)
    assert (arguments.train_batch_size, arguments.num_train_epochs, arguments.seed) == (5, 7, 11)


def test_rates_fall_by_depth_and_norms_do_not_decay(tiny_checkpoint):
    model = build_classifier(tiny_checkpoint("dinov2"), ["a", "b"], input_size=48, blocks=None, seed=0).model
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    rates, decays = {}, {}
    for group in parameter_groups(model, 1.0, 0.5, 0.05):
        for parameter in group["params"]:
            rates[name_of[id(parameter)]] = group["lr"]
            decays[name_of[id(parameter)]] = group["weight_decay"]
    assert rates["classifier.weight"] == rates["dinov2.layernorm.weight"] == 1
    assert rates["dinov2.encoder.layer.2.mlp.fc1.weight"] == 0.5
    assert rates["dinov2.encoder.layer.0.mlp.fc1.weight"] == 0.125
    assert rates["dinov2.embeddings.cls_token"] == 0.0625
    assert decays["dinov2.encoder.layer.0.mlp.fc1.weight"] == 0.05
    for bare in (
        "encoder.layer.0.layer_scale1.lambda1",
        "encoder.layer.0.norm1.weight",
        "embeddings.position_embeddings",
    ):
        assert decays[f"dinov2.{bare}"] == 0
    assert rates.keys() == dict(model.named_parameters()).keys()


def test_weights_reach_the_loss(settings, photos, tmp_path):
    """Photos of nearly no weight teach nothing: with their labels swapped, the others still decide."""
    rows = [f"{label}/{index:02d}.png,{label},1" for label in ("bar", "ok") for index in range(10)]
    swapped = [("bar", "ok"), ("ok", "bar")]
    copies = save_marked_photos(tmp_path / "copies")
    rows += [f"{copies}/{shown}/{index:02d}.png,{said},1e-6" for shown, said in swapped for index in range(10)]
    table = photos / "weights.csv"
    table.write_text("\n".join(["path,label,weight", *rows]) + "\n")
    common = {"data": table, "epochs": 25, "batch_size": 8, "learning_rate": 3e-3, "crop": 0, "layer_decay": 1}
    finetune(settings(**common, patience="none", best_by="loss"))
    files = [photos / label / f"{index:02d}.png" for label in ("bar", "ok") for index in range(10)]
    logits, _ = plain_logits(tmp_path / "out", files)
    assert (logits.argmax(1) == np.repeat([0, 1], 10)).mean() >= 0.9


@pytest.mark.parametrize(("choice", "times"), [("balanced", 9), ("sqrt", 3), ("none", 1)])
def test_a_class_nine_times_as_rare(settings, choice, times):
    photos = [SimpleNamespace(label=label, weight=1.0) for label in ["ok"] * 18 + ["dot"] * 2]
    split = SimpleNamespace(photos=photos, cache=None, entries=range(20))
    weights = split_dataset(settings(class_weights=choice), ("dot", "ok"), split, training=True).weights
    assert weights[-1] / weights[0] == pytest.approx(times)
    assert np.mean(weights) == pytest.approx(1)


def test_every_epoch_has_its_own_order(tmp_path):
    order = EpochOrder(20, seed=0)
    checkpoints = Checkpoints(tmp_path, lambda: False, order, seconds=60)
    keys = []
    for epoch in (0.0, 1.43):  # a resumed epoch begins with a fraction
        checkpoints.on_epoch_begin(None, SimpleNamespace(epoch=epoch), None)
        keys.append(list(order))
    assert {epoch for epoch, _ in keys[1]} == {1}
    first, second = ([index for _, index in drawn] for drawn in keys)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(20))


def test_early_stopping_waits_for_its_patience():
    history = [{"eval_macro_f1": value} for value in (0.5, 0.7, 0.6, 0.7)]
    assert has_stalled(history, "macro_f1", 2)
    assert not has_stalled(history[:3], "macro_f1", 2)
    assert not has_stalled(history, "macro_f1", None)
    losses = [{"eval_loss": value} for value in (0.5, 0.3, 0.4)]
    assert has_stalled(losses, "loss", 1)
    assert not has_stalled(losses[:2], "loss", 1)


def test_early_stopping_ends_the_training_and_keeps_the_best(settings):
    result = finetune(settings(epochs=30, learning_rate=1e-12, patience=2))  # so small a rate changes nothing
    assert result.epochs == 3


# What is refused


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"input_size": 50}, ConfigError, "input_size = 50: not divisible by the patch size 8; use 48 or 56"),
        ({"blocks": 9}, ConfigError, "blocks = 9: the model has only 3"),
        ({"train_blocks": 4}, ConfigError, "train_blocks = 4: the model has 3 blocks"),
        ({"model": "/nowhere/model"}, ModelError, "no such folder"),
    ],
)
def test_settings_that_do_not_fit_the_model(settings, changes, error, message):
    with pytest.raises(error, match=message):
        finetune(settings(**changes))


def test_all_wrong_settings_are_named_at_once(photos, tmp_path):
    with pytest.raises(ConfigError) as caught:
        FinetuneConfig(data=photos, out=tmp_path, epochs="0", test_share="0.9", learning_rat="1", patience="soon")
    message = str(caught.value)
    for words in ("epochs = 0", "test_share = 0.9: with validation_share it must be under 1", "patience = soon"):
        assert words in message
    assert "did you mean learning_rate" in message


def test_damaged_weights(settings, tiny_checkpoint, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_checkpoint("vit"), damaged)
    (damaged / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="can't be loaded for classification"):
        finetune(settings(model=str(damaged)))


def test_unsupported_family(settings, tmp_path):
    (tmp_path / "swin").mkdir()
    (tmp_path / "swin" / "config.json").write_text(json.dumps({"model_type": "swin"}))
    with pytest.raises(ModelError, match="'swin' has no attention rollout"):
        finetune(settings(model=str(tmp_path / "swin")))


@pytest.mark.parametrize("name", ["finetune", "evaluate"])
def test_commands_load_torch_only_when_they_work(name):
    """For --help, and because OMP_WAIT_POLICY is read when torch is loaded."""
    code = f"import sys, jobs.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
