"""Arguments that name a place: a path of this machine, or the URL of a bucket."""

from typing import Any

import click

from pipeline.errors import ConfigError
from pipeline.storage.location import Location, parse_location


class LocationType(click.ParamType[Location]):
    """A path or a URL."""

    name = "path or url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        """Parse the text of the command line."""
        try:
            return parse_location(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)
