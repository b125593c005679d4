"""The metrics of a night, for Prometheus."""

from pipeline.nightly.archives import nightly
from pipeline.nightly.config import read_config
from pipeline.nightly.metrics_file import write_metrics_file
from tests.helpers.archives import archive, metrics_of


def test_metrics_for_prometheus(tmp_path, archives, write_config):
    config = read_config(write_config(archive("cells"), archive("boards"), top='metrics_file = "night.prom"'))
    write_metrics_file(config, nightly(config))
    first = metrics_of(tmp_path / "night.prom")
    assert first['vitrollout_photos{archive="boards",status="failed"}'] == 1
    assert first['vitrollout_photos{archive="cells",status="ok"}'] == 6
    assert first['vitrollout_exit_code{archive="boards"}'] == 3
    assert first['vitrollout_photos_per_second{archive="cells"}'] > 0
    assert first['vitrollout_stage_seconds{archive="cells",stage="model"}'] > 0
    success = 'vitrollout_last_success_timestamp_seconds{archive="%s"}'
    assert success % "cells" in first
    assert success % "boards" not in first, "it never had one"
    for photo in (archives / "cells").iterdir():
        photo.write_bytes(b"the camera broke")
    write_metrics_file(config, nightly(config))
    second = metrics_of(tmp_path / "night.prom")
    assert second['vitrollout_photos{archive="cells",status="failed"}'] == 6
    assert second[success % "cells"] == first[success % "cells"], "the last success stays what it was"
    assert sorted(file.name for file in tmp_path.glob("night.*")) == ["night.prom"]
