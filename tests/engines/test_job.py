"""A job sent to a machine with other code, without the photos or with other results is refused."""

import pickle
from dataclasses import replace

import pytest

from pipeline.config import RunConfig
from pipeline.engines.job import Job, describe_code
from pipeline.errors import ConfigError


@pytest.fixture
def job(tmp_path, open_run):
    return Job(RunConfig(input=tmp_path / "photos", out=tmp_path / "out"), open_run)


def test_a_job_can_be_sent_and_fits_this_machine(job):
    sent = pickle.loads(pickle.dumps(job))
    assert sent == job
    sent.check_machine()


def test_other_code_is_refused(job):
    with pytest.raises(ConfigError, match=r"runs here, the run began with 0\.0\.9"):
        replace(job, code="0.0.9 (abc)").check_machine()
    assert describe_code() == describe_code.__wrapped__()


def test_a_machine_without_the_photos_is_refused(tmp_path, job):
    (tmp_path / "photos").rmdir()
    with pytest.raises(ConfigError, match="photos is not on this machine; give the input under the same path"):
        job.check_machine()


def test_a_machine_with_other_results_is_refused(tmp_path, job):
    elsewhere = replace(job.run, out=tmp_path / "local")
    with pytest.raises(ConfigError, match="local on this machine is not the results folder of the run; all machines"):
        replace(job, run=elsewhere).check_machine()
