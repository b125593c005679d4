"""Photos for overlays stay in the worker that decoded them, and are finished there."""

import gc
import os
import signal

import numpy as np
import pytest

from pipeline.errors import UnjudgedError
from pipeline.photos.discover import discover
from pipeline.photos.load_photo import load_sample
from pipeline.photos.load_tasks import DropTask, FinishTask, LoadTask, WorkerFunction
from pipeline.photos.loader import PhotoLoader
from tests.helpers.photos import save_photos
from tests.photos.test_loader import SPEC

WITH_PHOTO = SPEC.__class__(**vars(SPEC) | {"overlay_size": 64})


@pytest.fixture
def refs(tmp_path):
    save_photos(tmp_path / "photos", 12, size=(40, 30))
    return discover(tmp_path / "photos").refs


def report(photo, argument):
    """Return the process, the photo and the argument."""
    return os.getpid(), photo, argument


def sabotage(flag):
    """Return a function that ends the first process to call it, or with a flag of None every one."""

    def finish(photo, argument):
        if argument == "end" and (flag is None or not flag.exists()):
            if flag is not None:
                flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return report(photo, argument)

    return finish


def load(loader, refs, size=4):
    return [sample for batch in loader.batches(refs, size, lambda: False) for sample in batch.samples]


def test_each_photo_is_finished_with_its_own_argument_by_the_process_that_decoded_it(refs):
    with PhotoLoader(WITH_PHOTO, num_workers=2, finish=report) as loader:
        samples = load(loader, refs)
        assert all(sample.photo is None for sample in samples)
        results = [sample.kept.start(index) for index, sample in enumerate(samples)]
        processes = {result.result()[0] for result in results}
        for index, (ref, result) in enumerate(zip(refs, results, strict=True)):
            _, photo, argument = result.result()
            np.testing.assert_array_equal(photo, load_sample(ref, WITH_PHOTO).photo)
            assert argument == index
    assert os.getpid() not in processes
    assert 1 <= len(processes) <= 2


def test_photos_that_are_not_kept_are_decoded_once_more(refs):
    """The model's input is the same with and without, and so is the photo; the worker holds neither in between."""

    def finish(photo, argument):
        workers = [thing for thing in gc.get_objects() if type(thing) is WorkerFunction]
        return photo, argument, sum(len(worker._kept) for worker in workers)

    with PhotoLoader(WITH_PHOTO, num_workers=1, finish=finish) as loader:
        kept = load(loader, refs[:3])
        loader.choose_kept(lambda ref: False)
        samples = load(loader, refs)
        for one, other in zip(kept, samples, strict=False):
            np.testing.assert_array_equal(one.pixels, other.pixels)
        del kept, one
        gc.collect()
        for index in (11, 4, 0):
            photo, argument, held = samples[index].kept.start(index).result()
            np.testing.assert_array_equal(photo, load_sample(refs[index], WITH_PHOTO).photo)
            assert argument == index
            assert held == 0


def test_photos_decoded_once_more_need_no_model_input(refs):
    function = WorkerFunction(WITH_PHOTO, report, None)
    loaded = function(LoadTask(refs[0], ticket=0, wanted="overlay"))
    assert loaded.is_kept
    assert loaded.result.pixels.size == 0
    loaded = function(LoadTask(refs[0], wanted="input"))
    assert not loaded.is_kept
    assert loaded.result.photo is None
    np.testing.assert_array_equal(loaded.result.pixels, load_sample(refs[0], WITH_PHOTO).pixels)


@pytest.mark.parametrize("keep_photos", [True, False])
def test_a_process_that_dies_costs_a_second_decoding(refs, tmp_path, keep_photos):
    """That of the photo finished then, and of the others it kept."""
    with PhotoLoader(WITH_PHOTO, num_workers=1, finish=sabotage(tmp_path / "flag")) as loader:
        loader.choose_kept(lambda ref: keep_photos)
        samples = load(loader, refs)
        results = [sample.kept.start("end" if index == 3 else index) for index, sample in enumerate(samples)]
        for index, (ref, result) in enumerate(zip(refs, results, strict=True)):
            _, photo, argument = result.result()
            np.testing.assert_array_equal(photo, load_sample(ref, WITH_PHOTO).photo)
            assert argument == ("end" if index == 3 else index)


@pytest.mark.parametrize("keep_photos", [True, False])
def test_a_photo_that_ends_every_process_is_named_and_costs_no_other(refs, keep_photos):
    with PhotoLoader(WITH_PHOTO, num_workers=2, finish=sabotage(None)) as loader:
        loader.choose_kept(lambda ref: keep_photos)
        bad, *others = load(loader, refs)
        results = [sample.kept.start(index) for index, sample in enumerate(others)]
        with pytest.raises(UnjudgedError, match="it ends the process that draws it"):
            bad.kept.start("end").result()
        assert [result.result()[2] for result in results] == list(range(11))


@pytest.mark.parametrize("keep_photos", [True, False])
def test_a_lost_photo_that_has_changed_is_not_taken_for_the_old_one(refs, tmp_path, keep_photos):
    with PhotoLoader(WITH_PHOTO, num_workers=1, finish=sabotage(tmp_path / "flag")) as loader:
        loader.choose_kept(lambda ref: keep_photos)
        first, second, *_ = load(loader, refs)
        save_photos(tmp_path / "others", 1, size=(50, 50))
        os.replace(tmp_path / "others" / os.listdir(tmp_path / "others")[0], refs[0].file)
        os.unlink(refs[1].file)
        with pytest.raises(UnjudgedError, match="it has changed meanwhile"):
            first.kept.start("end").result()
        with pytest.raises(UnjudgedError, match="it vanished"):
            second.kept.start("x").result()


def test_mistakes_of_the_function_come_back_and_cost_no_other(refs):
    def finish(photo, argument):
        if argument == 1:
            raise ValueError("no such thing")
        return argument

    with PhotoLoader(WITH_PHOTO, num_workers=1, finish=finish) as loader:
        results = [sample.kept.start(index) for index, sample in enumerate(load(loader, refs))]
        with pytest.raises(ValueError, match="no such thing"):
            results[1].result()
        assert [results[index].result() for index in (0, *range(2, 12))] == [0, *range(2, 12)]


def test_a_worker_forgets_photos_that_nobody_needs(refs):
    function = WorkerFunction(WITH_PHOTO, report, None)
    for ticket, ref in enumerate(refs):
        assert function(LoadTask(ref, ticket=ticket)).is_kept
    function(DropTask((0, 2)))
    function(FinishTask(1, "x"))
    assert set(function._kept) == set(range(3, 12))


def test_photos_dropped_by_the_loader_are_forgotten_before_the_next_task(refs):
    def count(photo, argument):
        return sum(len(thing._kept) for thing in gc.get_objects() if type(thing) is WorkerFunction)

    with PhotoLoader(WITH_PHOTO, num_workers=1, finish=count) as loader:
        samples = load(loader, refs)
        kept = samples[11].kept.start(None)
        assert kept.result() == 11
        del samples[1:]
        gc.collect()
        assert samples[0].kept.start(None).result() == 0
