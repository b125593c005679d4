"""The model of a results folder's newest run, where `finetune` and `evaluate` start unless told otherwise."""

import logging
from pathlib import Path
from typing import TypeVar

from pipeline.dataset.reviewed import is_results_folder
from pipeline.results.run_record import newest_run_records
from pipeline.settings import Settings

log = logging.getLogger(__name__)

SomeSettings = TypeVar("SomeSettings", bound=Settings)


def choose_model(settings: SomeSettings, data: Path) -> SomeSettings:
    """Set the model to that of the results folder's newest run, unless the user has named one.

    Models of a hub are left: reaching for one must be asked for.
    """
    if "model" in settings.model_fields_set or not is_results_folder(data):
        return settings
    newest = next(newest_run_records(data), None)
    model = str(newest.settings.get("model", "bundled")) if newest else "bundled"
    if model != "bundled" and not Path(model).expanduser().is_dir():
        log.warning("the newest run of %s used --model %s, not a folder here: taking bundled; name one", data, model)
        model = "bundled"
    log.info("model = %s: that of the newest run of %s", model, data)
    return settings.model_copy(update={"model": model})
