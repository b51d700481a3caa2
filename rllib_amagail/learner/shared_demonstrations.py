"""Demonstrations on their way to the learners, which may be on other nodes of a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.serialization import deregister_serializer, register_serializer

from rllib_amagail.demonstrations import Demonstrations, DemonstrationsError
from rllib_amagail.demonstrations.locations import is_address


class SharedDemonstrations:
    """What another process finds in its config in place of `Demonstrations`: a reference.

    Whoever asks for them fetches them from Ray's object store, where a node keeps one copy for all
    its processes; env runners never ask. Pickled, as into a checkpoint, they are the demonstrations
    themselves again.

    Args:
        reference: of the demonstrations.
    """

    def __init__(self, reference: ray.ObjectRef) -> None:
        self._reference = reference

    def get(self) -> Demonstrations:
        """The demonstrations; their arrays are in shared memory."""
        found: Demonstrations = ray.get(self._reference)
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedDemonstrations:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self.get(),)


@contextmanager
def demonstrations_by_reference(source: Any) -> Iterator[ray.ObjectRef | None]:
    """Let `source` travel by reference in what this process sends to others meanwhile.

    RLlib sends its config to every node with a runner, and pickles it for every learner anew. This
    way the demonstrations in it are stored once, and fetched by the nodes of learners only.

    Args:
        source: what a config has as demonstrations; nothing to do unless they are in memory.

    Yields:
        The reference. Whoever starts actors keeps it: they need it when they are restarted.
    """
    if not isinstance(source, Demonstrations):
        yield None
        return
    reference = ray.put(source)

    def pack(found: Demonstrations) -> tuple[ray.ObjectRef | None, dict[str, Any]]:
        return (reference, {}) if found is source else (None, dict(vars(found)))

    register_serializer(Demonstrations, serializer=pack, deserializer=_unpack)
    try:
        yield reference
    finally:
        deregister_serializer(Demonstrations)


def explain_missing_file(source: Any, error: DemonstrationsError) -> DemonstrationsError:
    """The error of a path that this node does not have, or the one that was found.

    Args:
        source: what the config has as demonstrations.
        error: what became of reading them.
    """
    is_local = isinstance(source, str | os.PathLike) and not is_address(source)
    if not is_local or os.path.exists(source):
        return error
    node = f"{ray.util.get_node_ip_address()} ({ray.get_runtime_context().get_node_id()})"
    return DemonstrationsError(
        f"{os.fspath(source)}: found no such file on node {node}, where a learner runs; expected "
        "demonstrations that every learner's node can read. Use a folder that all nodes share, an "
        "address such as s3://bucket/folder, or demonstrations=Demonstrations.load(path), which "
        "Ray takes there"
    )


def _unpack(packed: tuple[ray.ObjectRef | None, dict[str, Any]]) -> Any:
    reference, fields = packed
    if reference is not None:
        return SharedDemonstrations(reference)
    found = object.__new__(Demonstrations)
    vars(found).update(fields)
    return found


def _itself(found: Demonstrations) -> Demonstrations:
    return found
