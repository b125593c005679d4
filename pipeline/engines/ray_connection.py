"""The connection to a Ray cluster, or a reason why there is none, within seconds."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from pipeline.errors import ConfigError, one_line

_KNOCK_SECONDS = 5.0
_CONNECT_SECONDS = 30.0

# Connects as a process of its own, since Ray waits for a minute and more for a server that isn't one, or refuses it.
_TRY_TO_CONNECT = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False)"


def open_connection(given: str | None) -> str | None:
    """Connect to a cluster.

    Args:
        given: its address; None: the one of RAY_ADDRESS, or of this machine.

    Returns:
        Its address; None: the caller had connected already.

    Raises:
        ConfigError: Ray is not installed, or the cluster can't be reached.
    """
    with _keep_signal_handlers():
        try:
            import ray
        except ModuleNotFoundError:
            raise ConfigError("engine = ray: Ray is missing; install it with: pip install 'vitrollout[ray]'") from None
        if ray.is_initialized():
            return None
        address = _find_address(given)
        _try_to_connect(address)
        _connect(address)
    return address


@contextmanager
def keep_connected(address: str | None) -> Iterator[None]:
    """Hold the connection to a cluster during the work, and close it afterwards; None: it is the caller's.

    Ray prints news of lost nodes to stdout, from a thread of its own; here they go to stderr.
    """
    import ray

    with redirect_stdout(sys.stderr):
        try:
            if address is not None and not ray.is_initialized():
                with _keep_signal_handlers():
                    _connect(address)
            yield
        finally:
            if address is not None:
                ray.shutdown()


def _find_address(given: str | None) -> str:
    address = given or os.environ.get("RAY_ADDRESS") or "auto"
    if "://" in address:
        raise ConfigError(
            f"ray_address = {address}: must be HOST:PORT, as told by ray start; run vitrollout on a node of the cluster"
        )
    if address == "auto":
        return address
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        raise ConfigError(
            f"ray_address = {address}: can't be reached ({reason}); give the HOST:PORT of the head node"
        ) from None
    return address


def _try_to_connect(address: str) -> None:
    named = "no Ray cluster on this machine" if address == "auto" else f"ray_address = {address}"
    command = [sys.executable, "-c", _TRY_TO_CONNECT, address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CONNECT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"{named}: no answer of a Ray cluster within {_CONNECT_SECONDS:.0f} s; check the address and the token, "
            "and see: ray status"
        ) from None
    if done.returncode:
        reason = one_line(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no reason given", 300)
        raise ConfigError(f"{named}: {reason}; start one with ray start --head, or give --ray-address")


def _connect(address: str) -> None:
    import ray

    ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, configure_logging=False)


@contextmanager
def _keep_signal_handlers() -> Iterator[None]:
    """Put back the handlers of signals: Ray takes SIGTERM."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
