"""Refs -> batches: every photo under its own name, whatever happens to the processes that decode."""

import faulthandler
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from pipeline.photos import load_photo as loading
from pipeline.photos import load_tasks
from pipeline.photos.content import hash_file
from pipeline.photos.decode import decode
from pipeline.photos.discover import discover
from pipeline.photos.load_photo import LoadSpec, load_sample
from pipeline.photos.loader import PhotoLoader
from pipeline.records import Failure, ImageRef, Sample
from tests.helpers.image_files import encoded, frames, looks_like_quadrants, quadrants, smooth_photo, with_orientation

SQUARE = ViTImageProcessorPil(size={"height": 32, "width": 32})
SPEC = LoadSpec(SQUARE, draft_shorter_side=None, overlay_size=None, max_pixels=10**8)


def ref_of(file):
    return ImageRef(Path(file).name, None, str(file), 0, 0)


def save(folder, name, data):
    (folder / name).write_bytes(data)
    return ref_of(folder / name)


def load(file, **spec):
    sample = load_sample(ref_of(file), LoadSpec(**{**vars(SPEC), **spec}))
    assert isinstance(sample, Sample), sample
    return sample


def failure(ref, spec=SPEC):
    failed = load_sample(ref, spec)
    assert isinstance(failed, Failure)
    assert failed.ref.path == ref.path
    return failed


# One file


def test_sample_says_what_was_read(tmp_path):
    data = with_orientation(quadrants(), "PNG", 6)
    save(tmp_path, "a.png", data)
    os.utime(tmp_path / "a.png", ns=(0, 123_456_789))
    sample = load(tmp_path / "a.png", overlay_size=100)
    assert (sample.ref.path, sample.ref.file_bytes, sample.ref.mtime_ns) == ("a.png", len(data), 123_456_789)
    assert sample.content_hash == hashlib.blake2b(data, digest_size=16).hexdigest() == hash_file(sample.ref)
    assert (sample.width, sample.height, sample.note) == (48, 32, None)
    assert (sample.pixels.shape, sample.pixels.dtype) == ((3, 32, 32), np.uint8)
    assert sample.pixels.flags.c_contiguous


def test_note_reaches_the_sample(tmp_path):
    save(tmp_path, "a.gif", frames("GIF"))
    assert load(tmp_path / "a.gif").note == "first of 3 frames"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_model_and_overlay_see_the_same_upright_photo(tmp_path, orientation):
    save(tmp_path, "a.jpg", with_orientation(quadrants(480, 320), "JPEG", orientation, quality=95))
    sample = load(tmp_path / "a.jpg", overlay_size=120, draft_shorter_side=64)
    assert (sample.width, sample.height) == (480, 320)
    assert sample.photo.shape == (80, 120, 3)
    assert looks_like_quadrants(Image.fromarray(sample.photo))
    assert looks_like_quadrants(Image.fromarray(np.moveaxis(sample.pixels, 0, -1)))


def test_pixels_are_those_of_the_image_processor(tmp_path):
    photo = smooth_photo(90, 60)
    save(tmp_path, "a.png", encoded(photo, "PNG"))
    for processor in (SQUARE, BitImageProcessorPil(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})):
        expected = processor(photo, return_tensors="np")["pixel_values"][0]
        mean, std = (np.reshape(each, (3, 1, 1)) for each in (processor.image_mean, processor.image_std))
        computed = (load(tmp_path / "a.png", processor=processor).pixels / 255 - mean) / std
        np.testing.assert_allclose(computed, expected, atol=1e-5)


def test_overlay_size_is_the_longest_side_and_never_enlarges(tmp_path):
    save(tmp_path, "a.png", encoded(smooth_photo(300, 200), "PNG"))
    assert load(tmp_path / "a.png", overlay_size=None).photo is None
    shapes = {size: load(tmp_path / "a.png", overlay_size=size).photo.shape for size in (16, 150, 300, 1024)}
    assert shapes == {16: (11, 16, 3), 150: (100, 150, 3), 300: (200, 300, 3), 1024: (200, 300, 3)}


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1), (500, 1), (1, 500), (2, 3)])
def test_tiny_and_thin_photos(tmp_path, size):
    save(tmp_path, "a.png", encoded(Image.new("RGB", size, (10, 20, 30)), "PNG"))
    sample = load(tmp_path / "a.png", overlay_size=64)
    assert (sample.width, sample.height) == size
    assert (sample.pixels.mean((1, 2)) == [10, 20, 30]).all()
    assert (sample.photo == [10, 20, 30]).all()


def test_thread_that_would_fill_the_memory_when_resized_is_refused(tmp_path):
    """By its shorter edge: 20,000 x 1 pixels would become 5 million x 256."""
    ref = save(tmp_path, "a.png", encoded(Image.new("L", (20_000, 1)), "PNG"))
    spec = LoadSpec(BitImageProcessorPil(size={"shortest_edge": 256}), None, None, max_pixels=178_000_000)
    assert failure(ref, spec).reason.startswith("20000 x 1 pixels are too narrow")


# Reduced decoding


@pytest.fixture(scope="module")
def large_jpeg(tmp_path_factory):
    """2400 x 1600: soft shapes with some fine detail on them."""
    pixels = np.asarray(smooth_photo(2400, 1600)).astype(int)
    pixels[400:800, 600:1200] = np.where(np.indices((400, 600)).sum(axis=0)[..., None] % 2, 220, 30)
    file = tmp_path_factory.mktemp("large") / "large.jpg"
    Image.fromarray(pixels.astype(np.uint8)).save(file, quality=98, subsampling=0)
    return file


@pytest.fixture(scope="module")
def smooth_jpeg(tmp_path_factory):
    file = tmp_path_factory.mktemp("smooth") / "smooth.jpg"
    smooth_photo(4000, 3000).save(file, quality=90)
    return file


@pytest.mark.parametrize(
    "processor",
    [
        ViTImageProcessorPil(size={"height": 224, "width": 224}),
        BitImageProcessorPil(size={"shortest_edge": 256}),
    ],
    ids=["resized", "cropped"],
)
def test_reduced_decoding_changes_pixels_little(smooth_jpeg, processor):
    exact = load(smooth_jpeg, processor=processor).pixels.astype(int)
    draft = load(smooth_jpeg, processor=processor, draft_shorter_side=512).pixels.astype(int)
    difference = np.abs(draft - exact)
    assert difference.any(), "it was not reduced"
    assert difference.max() <= 3
    assert difference.mean() <= 0.5


def test_pixels_do_not_depend_on_the_overlay(large_jpeg):
    """Or the numbers would change with how overlays look, under the same fingerprint."""
    samples = [load(large_jpeg, draft_shorter_side=64, overlay_size=size) for size in (None, 64, 1024, 1201, 5000)]
    assert all((sample.pixels == samples[0].pixels).all() for sample in samples)
    assert {sample.content_hash for sample in samples} == {samples[0].content_hash}


@pytest.mark.parametrize("overlay_size", [1300, 2400, 9999])
def test_overlay_larger_than_the_reduced_photo_is_sharp(large_jpeg, overlay_size):
    sample = load(large_jpeg, draft_shorter_side=64, overlay_size=overlay_size)
    with Image.open(large_jpeg) as exact:
        size = (min(overlay_size, 2400), round(min(overlay_size, 2400) * 2 / 3))
        expected = np.asarray(exact.resize(size, Image.Resampling.BICUBIC)).astype(int)
    assert sample.photo.shape == expected.shape
    assert np.abs(sample.photo - expected).mean() < 0.5
    detail = (slice(size[1] * 5 // 16, size[1] * 7 // 16), slice(size[0] * 5 // 16, size[0] * 7 // 16))
    if overlay_size >= 2400:
        assert sample.photo[detail].std() > 80


def test_exact_decoding_decodes_in_full(large_jpeg, monkeypatch):
    asked = []
    real_decode = loading.decode
    monkeypatch.setattr(
        loading, "decode", lambda *args, **kw: asked.append(kw["draft_size"]) or real_decode(*args, **kw)
    )
    load(large_jpeg, draft_shorter_side=None, overlay_size=100)
    load(large_jpeg, draft_shorter_side=100, overlay_size=100)
    assert asked == [None, (100, 1024)]


# What can be wrong with a file


def test_problem_of_the_walk_is_the_reason(tmp_path):
    ref = ImageRef("a.jpg", None, str(tmp_path / "a.jpg"), 0, 0, "not a regular file")
    assert failure(ref).reason == "not a regular file"


def test_pipe_is_never_opened(tmp_path):
    """Opening one waits for a writer that never comes."""
    os.mkfifo(tmp_path / "x.jpg")
    (ref,) = discover(tmp_path).refs
    assert failure(ref).reason == "not a regular file"


def test_vanished_file(tmp_path):
    assert "it vanished during the run" in failure(ref_of(tmp_path / "gone.jpg")).reason


def test_unreadable_file(tmp_path, file_permissions_hold):
    ref = save(tmp_path, "a.png", encoded(quadrants(), "PNG"))
    (tmp_path / "a.png").chmod(0)
    with file_permissions_hold():
        assert failure(ref).reason == "can't be read: Permission denied"


def test_file_that_became_a_folder(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    assert failure(ref_of(tmp_path / "a.jpg")).reason == "can't be read: Is a directory"


def test_file_larger_than_the_memory(tmp_path, monkeypatch):
    ref = save(tmp_path, "a.png", encoded(quadrants(), "PNG"))
    monkeypatch.setattr(loading, "open", WriterBeside(no_memory), raising=False)
    assert "not enough memory" in failure(ref).reason


def no_memory(*_, **__):
    raise MemoryError


def test_memory_that_runs_out_later_is_a_reason_too(tmp_path, monkeypatch):
    ref = save(tmp_path, "a.png", encoded(quadrants(), "PNG"))
    monkeypatch.setattr(Image.Image, "resize", no_memory)
    failed = failure(ref, LoadSpec(SQUARE, None, 16, 10**7))
    assert "memory" in failed.reason
    assert failed.content_hash is None, "no verdict on its bytes"


def test_photo_is_decoded_once_for_model_and_overlay(tmp_path, monkeypatch):
    smooth_photo(4000, 3000).save(tmp_path / "a.jpg")
    decoded = []
    monkeypatch.setattr(loading, "decode", lambda *args, **how: decoded.append(how) or decode(*args, **how))
    sample = load(tmp_path / "a.jpg", draft_shorter_side=64, overlay_size=1024)
    assert sample.photo.shape == (768, 1024, 3)
    assert [how["draft_size"] for how in decoded] == [(64, 1024)]


def test_undecodable_file_has_reason_and_hash(tmp_path):
    failed = failure(save(tmp_path, "a.jpg", b"text"))
    assert failed.reason.startswith("not an image of a supported format")
    assert failed.content_hash == hashlib.blake2b(b"text", digest_size=16).hexdigest()
    assert failed.ref.file_bytes == 4


class WriterBeside:
    """Opens a file and does something to it between its first byte and its last."""

    def __init__(self, meddle):
        self._meddle = meddle

    def __call__(self, file, mode):
        stream = open(file, mode)  # noqa: SIM115
        read = stream.read
        meddle = self._meddle

        class Stream:
            fileno = stream.fileno

            def read(self):
                data = read()
                meddle(file)
                return data

            def __enter__(self):
                return self

            def __exit__(self, *_):
                stream.close()

        return Stream()


def append(file):
    with open(file, "ab") as stream:
        stream.write(b"more")


def rewrite(file):
    """As many bytes, and other ones."""
    size = os.path.getsize(file)
    with open(file, "r+b") as stream:
        stream.write(bytes(size))
    os.utime(file, ns=(0, 5))


def replace_whole(file):
    Path(f"{file}.new").write_bytes(b"new")
    os.replace(f"{file}.new", file)


@pytest.mark.parametrize("meddle", [append, rewrite, lambda file: os.truncate(file, 3)], ids=["grows", "same", "cut"])
def test_file_that_changes_while_it_is_read(tmp_path, monkeypatch, meddle):
    ref = save(tmp_path, "a.png", encoded(quadrants(), "PNG"))
    monkeypatch.setattr(loading, "open", WriterBeside(meddle), raising=False)
    failed = failure(ref)
    assert "it changed while it was read" in failed.reason
    assert failed.ref == ref, "with its old size and time, so that the next run sees the difference"


def test_file_that_is_replaced_while_it_is_read_is_the_old_one(tmp_path, monkeypatch):
    """A new file under the same name: what was read is whole, and the row names the size and time of that."""
    data = encoded(quadrants(), "PNG")
    ref = save(tmp_path, "a.png", data)
    monkeypatch.setattr(loading, "open", WriterBeside(replace_whole), raising=False)
    sample = load_sample(ref, SPEC)
    assert sample.ref.file_bytes == len(data)
    assert sample.content_hash == hashlib.blake2b(data, digest_size=16).hexdigest()


def test_file_that_changed_since_the_walk_is_what_it_is_now(tmp_path):
    save(tmp_path, "a.png", encoded(quadrants(), "PNG"))
    (ref,) = discover(tmp_path).refs
    data = encoded(smooth_photo(64, 64), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    sample = load_sample(ref, SPEC)
    assert (sample.ref.file_bytes, sample.width) == (len(data), 64)
    assert sample.ref.mtime_ns == (tmp_path / "a.png").stat().st_mtime_ns


def test_times_that_the_table_can_not_hold_are_cut(tmp_path):
    save(tmp_path, "a.png", encoded(quadrants(), "PNG"))
    os.utime(tmp_path / "a.png", (0, 12_000_000_000))  # the year 2350
    (ref,) = discover(tmp_path).refs
    assert load_sample(ref, SPEC).ref.mtime_ns == ref.mtime_ns < 2**63


def test_hash_of_a_file_that_can_not_be_read(tmp_path):
    assert hash_file(ref_of(tmp_path / "gone")) is None


# Many files, in worker processes


def colour_of(index):
    return (index * 4, 255 - index * 4, index % 7 * 30)


@pytest.fixture
def coloured(tmp_path):
    """Sixty photos, each of a colour and size of its own; every seventh is broken, every eleventh missing."""
    refs = []
    for index in range(60):
        name = f"{index:02d}.png"
        picture = Image.new("RGB", (20 + index, 30), colour_of(index))
        refs.append(save(tmp_path, name, b"broken" if index % 7 == 3 else encoded(picture, "PNG")))
        if index % 11 == 5:
            (tmp_path / name).unlink()
    return refs


def batches_of(refs, *, size=8, workers=3, seconds=30.0, stop=lambda: False, spec=SPEC):
    with PhotoLoader(spec, num_workers=workers, decode_seconds=seconds) as loader:
        yield from loader.batches(refs, size, stop)


def assert_in_order(batches, refs, size):
    """Batches are consecutive refs, samples and failures each in order."""
    for number, batch in enumerate(batches):
        expected = [ref.path for ref in refs[number * size : (number + 1) * size]]
        samples = [sample.ref.path for sample in batch.samples]
        failures = [failed.ref.path for failed in batch.failures]
        assert sorted(samples + failures) == expected
        assert samples == sorted(samples)
        assert failures == sorted(failures)
    assert sum(len(batch.samples) + len(batch.failures) for batch in batches) == len(refs)


def assert_contents_belong_to_names(batches):
    for batch in batches:
        for sample in batch.samples:
            index = int(sample.ref.path[:2])
            assert (sample.pixels == np.reshape(colour_of(index), (3, 1, 1))).all(), sample.ref.path
            assert sample.width == 20 + index


@pytest.mark.parametrize(("workers", "size"), [(1, 1), (1, 7), (3, 8), (4, 60), (2, 100)])
def test_every_row_s_content_belongs_to_its_name(coloured, workers, size):
    batches = list(batches_of(coloured, workers=workers, size=size))
    assert_in_order(batches, coloured, size)
    assert_contents_belong_to_names(batches)
    reasons = {failed.ref.path: failed.reason for batch in batches for failed in batch.failures}
    for index, ref in enumerate(coloured):
        if index % 11 == 5:
            assert "vanished" in reasons.pop(ref.path)
        elif index % 7 == 3:
            assert "not an image" in reasons.pop(ref.path)
    assert reasons == {}


def test_no_refs_no_batches():
    assert list(batches_of([])) == []


def test_refs_are_taken_only_as_far_ahead_as_needed(coloured):
    taken = []
    batches = batches_of((taken.append(ref) or ref for ref in coloured), size=4, workers=2)
    next(batches)
    assert len(taken) <= 2 * (4 + 2)
    batches.close()


def test_batches_have_the_same_photos_whoever_decodes(coloured):
    def names(batch):
        return [sample.ref.path for sample in batch.samples], [failed.ref.path for failed in batch.failures]

    runs = [[names(batch) for batch in batches_of(coloured, workers=workers)] for workers in (1, 4)]
    assert runs[0] == runs[1]


# Processes that end


@pytest.fixture
def sabotaged(coloured, monkeypatch, tmp_path):
    """Some files do something else than being decoded: what `deeds` says of their number."""
    deeds = {}
    real = load_tasks.load_sample

    def load(ref, spec):
        deeds.get(int(ref.path[:2]), lambda: None)()
        return real(ref, spec)

    monkeypatch.setattr(load_tasks, "load_sample", load)  # workers are forked, so it holds there, too
    return deeds


def killed_by(number):
    def die():
        faulthandler.disable()  # pytest's own: its report of this crash would only look like trouble
        os.kill(os.getpid(), number)

    return die


def hang():
    threading.Event().wait()


def hang_for_good():
    """As a decoder in C that never returns: no Python code runs, whatever signal comes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL})
    threading.Event().wait()


@pytest.mark.parametrize("workers", [1, 3])
def test_crash_costs_the_file_alone(coloured, sabotaged, workers):
    sabotaged |= {
        0: killed_by(signal.SIGABRT),
        20: killed_by(signal.SIGSEGV),
        21: killed_by(signal.SIGKILL),
        22: lambda: os._exit(7),
    }
    batches = list(batches_of(coloured, workers=workers))
    assert_in_order(batches, coloured, 8)
    assert_contents_belong_to_names(batches)
    reasons = {failed.ref.path[:2]: failed.reason for batch in batches for failed in batch.failures}
    crashed = {name: reason for name, reason in reasons.items() if "crashed" in reason}
    assert crashed == {
        "00": "the decoder crashed (exit code -6)",
        "20": "the decoder crashed (exit code -11)",
        "22": "the decoder crashed (exit code 7)",
    }
    assert reasons["21"] == "the decoder was killed, perhaps for want of memory (exit code -9)"
    assert len(reasons) == 4 + sum(index % 11 == 5 or index % 7 == 3 for index in range(60))


IMPORTS_OF_A_WORKER = """
import sys
from functools import partial
from pathlib import Path
from pipeline.photos.discover import discover
from pipeline.photos.load_photo import load_sample
from pipeline.photos.loader import PhotoLoader
from pipeline.photos.worker_process import Worker
from tests.photos.test_loader import SPEC

def new_modules(known, ref):
    load_sample(ref, SPEC)
    return sorted(set(sys.modules) - known)

with PhotoLoader(SPEC, num_workers=1, decode_seconds=30):
    worker = Worker(partial(new_modules, set(sys.modules)))
    for ref in discover(Path(sys.argv[1])).refs:
        print(ref.path, *worker.run(ref, seconds=30))
    worker.stop()
"""


def test_workers_import_nothing(tmp_path):
    """One that is forked while a thread here imports the same module would wait for that import forever."""
    for file_format in ("JPEG", "MPO", "PNG", "TIFF", "BMP", "WEBP", "GIF", "AVIF", "JPEG2000", "PPM", "TGA"):
        name = {"JPEG2000": "jp2", "TIFF": "tif"}.get(file_format, file_format)
        save(tmp_path, f"a.{name}", encoded(smooth_photo(40, 30), file_format))
    save(tmp_path, "broken.jpg", b"no photo")
    command = [sys.executable, "-c", IMPORTS_OF_A_WORKER, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert sorted(done.stdout.split()) == sorted(file.name for file in tmp_path.iterdir())


PHOTO_AFTER_THREADS = """
import sys
from pathlib import Path

import torch
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from pipeline.photos import load_photo as loading
from pipeline.photos.discover import discover
from pipeline.photos.load_photo import LoadSpec
from pipeline.photos.loader import PhotoLoader

def with_threads(photo, size):
    torch.rand(8, 400, 400).softmax(-1)  # as shrinking does on processors without AVX2
    return downscale(photo, size)

downscale, loading.downscale = loading.downscale, with_threads
torch.set_num_threads(2)
torch.rand(8, 400, 400).softmax(-1)  # starts the second one
spec = LoadSpec(ViTImageProcessorPil(size={"height": 32, "width": 32}), None, 64, 10**9)
with PhotoLoader(spec, num_workers=1, decode_seconds=20) as loader:
    for batch in loader.batches(discover(Path(sys.argv[1])).refs, 8, lambda: False):
        print([sample.photo.shape for sample in batch.samples], batch.failures)
        print(torch.get_num_threads())
"""


def test_workers_shrink_photos_though_the_main_process_has_torch_threads(tmp_path):
    """A fork has none of its parent's threads; it would wait for them forever."""
    save(tmp_path, "a.png", encoded(smooth_photo(640, 480), "PNG"))
    command = [sys.executable, "-c", PHOTO_AFTER_THREADS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "[(48, 64, 3)] ()\n2\n"


def test_many_crashes_in_a_row_cost_nothing_else(coloured, sabotaged):
    """Pools that share one pipe among their workers lose track here, now and then, and give up."""
    sabotaged |= dict.fromkeys(range(0, 60, 2), lambda: os._exit(1))
    batches = list(batches_of(coloured, workers=4))
    assert_in_order(batches, coloured, 8)
    assert_contents_belong_to_names(batches)
    assert sum("crashed" in failed.reason for batch in batches for failed in batch.failures) == 30


def test_file_that_crashes_once_is_tried_again(coloured, sabotaged, tmp_path):
    def crash_once():
        if not (tmp_path / "crashed").exists():
            (tmp_path / "crashed").touch()
            os._exit(1)

    sabotaged[1] = crash_once
    batches = list(batches_of(coloured))
    assert (tmp_path / "crashed").exists()
    assert "01.png" in [sample.ref.path for sample in batches[0].samples]
    assert_contents_belong_to_names(batches)


@pytest.mark.parametrize("deed", [hang, hang_for_good])
def test_hang_costs_the_file_alone(coloured, sabotaged, deed):
    sabotaged[12] = deed
    batches = list(batches_of(coloured, seconds=2))
    assert_in_order(batches, coloured, 8)
    assert_contents_belong_to_names(batches)
    reasons = [failed.reason for batch in batches for failed in batch.failures if failed.ref.path == "12.png"]
    assert reasons == ["the decoder took longer than 2 s"]


def test_mistake_of_ours_ends_the_run(coloured, sabotaged):
    def mistake():
        raise ZeroDivisionError("a mistake")

    sabotaged[9] = mistake
    with pytest.raises(ZeroDivisionError, match="a mistake") as caught:
        list(batches_of(coloured))
    assert "in mistake" in "".join(caught.value.__notes__), "it says where, though another process raised it"
    assert not left_behind()


def left_behind():
    return [child for child in multiprocessing.active_children() if child.name == "vitrollout-worker"]


def test_nothing_is_left_behind(coloured):
    threads = threading.active_count()
    list(batches_of(coloured))
    assert left_behind() == []
    assert threading.active_count() == threads


def test_stop_ends_it_and_leaves_nothing_behind(coloured):
    done = []
    for batch in batches_of(coloured, stop=lambda: len(done) == 2):
        done.append(batch)
    assert_in_order(done, coloured[:16], 8)
    assert left_behind() == []


def test_stop_does_not_wait_for_a_decoder_that_hangs(coloured, sabotaged):
    sabotaged[12] = hang_for_good
    done = []
    for batch in batches_of(coloured, seconds=3600, stop=lambda: len(done) == 1):
        done.append(batch)
    assert_in_order(done, coloured[:8], 8)
    assert left_behind() == []


def test_leaving_early_leaves_nothing_behind(coloured):
    batches = batches_of(coloured)
    next(batches)
    batches.close()
    assert left_behind() == []


def test_workers_end_when_the_main_process_is_killed(coloured, sabotaged):
    """`kill -9` gives it no chance to end them."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)  # the workers inherit the sending end, and so keep it open

    def main():
        sabotaged[3] = lambda: os._exit(1)  # so one worker is younger than the others
        loader = PhotoLoader(SPEC, num_workers=3, decode_seconds=60)
        next(loader.batches(coloured, 8, lambda: False))
        sender.send(len(left_behind()))
        threading.Event().wait()

    process = context.Process(target=main)
    process.start()
    sender.close()
    assert receiver.recv() == 3
    assert not receiver.poll(0)
    process.kill()
    process.join()
    assert receiver.poll(30), "a worker lives on"
    with pytest.raises(EOFError):
        receiver.recv()


def test_worker_that_hangs_ends_when_the_main_process_is_killed(coloured, sabotaged):
    """Nobody is left to end it, and it holds a copy of every older worker's pipe."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def hang():
        sender.send("hangs")
        threading.Event().wait()

    def main():
        sabotaged[0] = hang
        for _ in PhotoLoader(SPEC, num_workers=2, decode_seconds=2).batches(coloured[:1], 1, lambda: False):
            pass

    process = context.Process(target=main)
    process.start()
    sender.close()
    assert receiver.recv() == "hangs"
    process.kill()
    process.join()
    assert receiver.poll(30), "a worker lives on"
    with pytest.raises(EOFError):
        receiver.recv()


def test_ctrl_c_goes_to_the_main_process_alone(coloured, sabotaged):
    """A terminal sends it to every process of the group."""
    sabotaged |= dict.fromkeys(range(60), killed_by(signal.SIGINT))
    batches = list(batches_of(coloured))
    assert_in_order(batches, coloured, 8)
    assert_contents_belong_to_names(batches)
    assert not any("crashed" in failed.reason for batch in batches for failed in batch.failures)
