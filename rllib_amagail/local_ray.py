"""Ray for this machine only."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants

# What Ray calls it; on Linux, too, it makes Ray take 127.0.0.1 for the address of this machine.
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_LOCAL_HOSTS = ("127.0.0.1", "localhost")


def start_local_ray(**options: Any) -> None:
    """Start a Ray that nobody else can reach: no dashboard, bound to 127.0.0.1.

    Left to itself Ray listens on all of a machine's addresses, and whoever may connect may run
    code. Does nothing if Ray runs already.

    Args:
        **options: of `ray.init`, such as ``num_cpus``.
    """
    if ray.is_initialized():
        return
    defaults = {"include_dashboard": False, "logging_level": "ERROR"}
    with _loopback_only():
        ray.init(address="local", **{**defaults, **options})


def join_ray(address: str, **options: Any) -> None:
    """Connect to a Ray that runs.

    Ray takes 127.0.0.1 for this machine's address outside, and waits for ever where a session of
    `start_local_ray` does not listen.

    Args:
        address: of its head, "host:port", or another that `ray.init` knows.
        **options: of `ray.init`.
    """
    host, _, port = address.rpartition(":")
    if host in _LOCAL_HOSTS and port.isdigit() and not _is_open_outside(int(port)):
        with _loopback_only():
            ray.init(address=address, **options)
    else:
        ray.init(address=address, **options)


def _is_open_outside(port: int) -> bool:
    """Whether somebody listens at this machine's address outside."""
    try:
        socket.create_connection((ray.util.get_node_ip_address(), port), timeout=1.0).close()
    except OSError:
        return False
    return True


@contextmanager
def _loopback_only() -> Iterator[None]:
    """For Ray in this process, which has read the variable, and for those that it starts."""
    before, constant = os.environ.get(_LOOPBACK), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[_LOOPBACK], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = constant
        if before is None:
            del os.environ[_LOOPBACK]
        else:
            os.environ[_LOOPBACK] = before
