"""Ray as this package starts it cannot be reached from elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from rllib_amagail.local_ray import start_local_ray

LISTENING = "0A"
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def listening_addresses(port: int) -> set[str]:
    """The addresses, in the hexadecimal notation of Linux, on which a port is open."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, hexadecimal = local.split(":")
            if state == LISTENING and int(hexadecimal, 16) == port:
                found.add(address)
    return found


@pytest.mark.skipif(not Path("/proc/self/net/tcp").is_file(), reason="reads Linux's tables")
def test_ray_listens_to_this_machine_only(ray_session: None) -> None:
    (node,) = ray.nodes()
    address = ray.get_runtime_context().gcs_address
    ports = [int(address.split(":")[1]), node["NodeManagerPort"], node["ObjectManagerPort"]]
    for port in ports:
        found = listening_addresses(port)
        assert found, f"nobody listens on {port}"
        assert found <= LOOPBACK


def test_there_is_no_dashboard(ray_session: None) -> None:
    assert not ray._private.worker.get_dashboard_url()


def test_a_session_that_runs_is_kept(ray_session: None) -> None:
    before = ray.get_runtime_context().gcs_address
    start_local_ray(num_cpus=1)
    assert ray.get_runtime_context().gcs_address == before


def test_another_process_can_join_it(ray_session: None) -> None:
    program = (
        "import ray, sys; from rllib_amagail.local_ray import join_ray; join_ray(sys.argv[1]); "
        "print(len(ray.nodes()))"
    )
    address = ray.get_runtime_context().gcs_address
    told = subprocess.run(
        [sys.executable, "-c", program, address], capture_output=True, text=True, timeout=60
    )
    assert told.stdout.split()[-1:] == ["1"], told.stderr


def test_the_environment_is_as_before(ray_session: None) -> None:
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ
