"""Hostile files: nothing of them is executed, and none takes more memory than it may."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rllib_amagail.demonstrations import Demonstrations, DemonstrationsError
from rllib_amagail.demonstrations.readers import read_csv, read_npz, read_pickle, read_table
from rllib_amagail.demonstrations.readers.restricted_pickle import loads
from tests.reader_samples import PYTHON_2, trajectories

LIMIT = 2**24
ARRAY = pickle.dumps(np.arange(3.0), protocol=2)

_forbidden: list[str] | None = None  # the audit events so far while they are watched, or None
_EVENTS = ("exec", "compile", "os.", "subprocess.", "pickle.", "socket.", "ctypes.", "marshal.")


def _audit(event: str, arguments: Any) -> None:
    if _forbidden is not None and event.startswith(_EVENTS):
        _forbidden.append(event)


sys.addaudithook(_audit)  # for good: hooks cannot be removed


@contextmanager
def nothing_executed() -> Iterator[None]:
    """Fails if the block runs code, starts a process, or asks pickle for a class."""
    global _forbidden
    _forbidden = []
    try:
        yield
        seen = _forbidden
    finally:
        _forbidden = None
    assert seen == []


@contextmanager
def little_memory(limit: int = 2 * LIMIT) -> Iterator[None]:
    """Fails if Python and numpy allocate more than `limit` bytes in the block."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit


class _Calls:
    """Pickled, it is a call of anything."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts


class _HasState:
    def __setstate__(self, state: Any) -> None:
        os.system(state)

    def __getstate__(self) -> str:
        return "true"


def test_the_watch_sees_what_pickle_would_do() -> None:
    with pytest.raises(AssertionError, match=r"os\.system"), nothing_executed():
        pickle.loads(pickle.dumps(_Calls(os.system, "true")))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        _Calls(os.system, "true"),
        [{"ob": [_Calls(eval, "1")]}],
        {"x": _Calls(getattr, "x", "upper")},
        _Calls(np.load, "x"),
        _HasState(),
        [_Calls(_Calls, eval)],
        np.array([_Calls(os.system, "true")], dtype=object),
        np.array(["text"]),
        np.zeros(2, [("a", "f8")]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, complex),
        np.ma.masked_array([1.0]),
        {1, 2},
        complex(1, 2),
        Path("x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_pickles_of_other_things_are_refused(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol=protocol)
    with nothing_executed(), pytest.raises(DemonstrationsError, match="found"):
        loads(data, LIMIT)


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(ios\nsystem\nS'true'\no.",
        b"(S'true'\nios\nsystem\n.",
        b"c__builtin__\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cos\nsystem\n(I0\ntS'b'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(S'x'\n(I0\ntS'b'\ntR.",
        b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
        b"c_codecs\nencode\n(Vx\nVlatin1\nVstrict\ntR.",
        b"c_codecs\nencode\n.",
        b"cnumpy\nndarray\n(I9\ntR.",
        b"cnumpy\nndarray\n}(V__class__\nI1\nub.",
        b"cnumpy\ndtype\n(S'O'\nI0\nI1\ntR.",
        b"cnumpy\ndtype\n(S'V8'\nI0\nI1\ntR.",
        b"cnumpy\ndtype\n(S'f8,O'\nI0\nI1\ntR.",
        b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'|'\n(S'a'\ntNNI-1\nI-1\nI63\ntb.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O'\nI0\nI1\ntRS'x'\ntR.",
        b"S'x'\n}(Vupper\nI1\nub.",
        b"(lp0\n}(V__class__\nI1\nub.",
        b"\x80\x02c\x00\n\x00\n.",
        b"\x80\x02X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93X\x04\x00\x00\x00true\x85R.",
        b"\x80\x02c__builtin__\nobject\n)\x81.",
        b"\x80\x02\x82\x01.",
        b"Pid\n.",
        b"\x80\x02Vid\nQ.",
        b"\x80\x05\x97.",
        b"\x80\x06N.",
    ],
)
def test_programs_are_refused(data: bytes) -> None:
    with nothing_executed(), pytest.raises(DemonstrationsError, match="found"):
        loads(data, LIMIT)


def _deep(opening: bytes, closing: bytes) -> bytes:
    return opening * 10**4 + closing * (10**4 - 1) + b"."


def _shape(claimed: str, num_bytes: int = 16) -> bytes:
    """A pickled array of so many bytes that claims to have another shape."""
    start = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n("
    end = "tcnumpy\ndtype\n(S'f8'\nI0\nI1\ntRI00\nS'" + "\\x00" * num_bytes + "'\ntb."
    return f"{start}{claimed}{end}".encode()


def _laughs(levels: int) -> bytes:
    """Each list holds the last one ten times: 10**levels in the end."""
    data = b"\x80\x02(]q\x00"
    for level in range(levels):
        data += b"](" + bytes([ord("h"), level]) * 10 + b"eq" + bytes([level + 1])
    return data + b"l."


@pytest.mark.parametrize(
    "data",
    [
        _shape("I1000000000000\n"),
        _shape("I2\nI1000000000000\nI0\n", num_bytes=0),
        _shape("I-2\n"),
        _shape("I1\n" * 9 + "I2\n"),
        _shape("L" + "9" * 4000 + "L\n"),
        _shape("F2.0\n"),
        _shape("I01\nI2\n"),
        _laughs(9),
        _laughs(30),
        _deep(b"]", b"a"),
        b"(" + _deep(b"(", b"t")[:-1] + b"tt.",
        b"\x80\x02" + b")q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"}h\x00Nsq\x01.",  # hash of a key
        b"\x80\x02]q\x00h\x00a.",  # a list within itself
        b"\x80\x02]q\x00(h\x00h\x00h\x00h\x00e.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fx.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffx.",
        b"\x80\x02T\xff\xff\xff\xffx.",
        b"\x80\x02]" + b"(" * 10**5 + b".",
        b"\x80\x02(" + b"}" * 2 * 10**5 + b"l.",
        b"\x80\x02(X\x00\x00\x01\x00" + b"\x00" * 2**16 + b"q\x00" + b"h\x00" * 10**5 + b"l.",
        # The same text becomes bytes again and again.
        b"\x80\x02c_codecs\nencode\nq\x01X\x00\x00\x10\x00"
        + b"\x00" * 2**20
        + b"Vlatin1\n\x86q\x02("
        + b"h\x01h\x02R" * 1000
        + b"l.",
    ],
    ids=range(21),
)
def test_bombs_are_refused_within_the_limit(data: bytes) -> None:
    with little_memory(), nothing_executed(), pytest.raises(DemonstrationsError):
        loads(data, LIMIT)


def test_a_pickle_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.pkl"
    path.write_bytes(pickle.dumps(trajectories()))
    with pytest.raises(DemonstrationsError, match=r"big\.pkl: found \d+ bytes, expected at most"):
        read_pickle(path, max_bytes=1000)
    with pytest.raises(DemonstrationsError, match="raise max_bytes if you trust the file"):
        read_pickle(path, max_bytes=os.path.getsize(path) + 1)


def _outcome(data: bytes) -> Any:
    with nothing_executed():
        try:
            return loads(data, LIMIT)
        except DemonstrationsError:
            return None


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
@example(b"")
@example(b".")
@example(b"0.")
@example(b"(.")
@example(b"(t.")
@example(b"t.")
@example(b"R.")
@example(b"b.")
@example(b"h\x00.")
@example(b"q\x00.")
@example(b"\x94.")
@example(b"Np-1\n.")
def test_arbitrary_bytes_give_an_error_or_data(data: bytes) -> None:
    _outcome(data)


_INSTRUCTION_BYTES = st.sampled_from(
    [bytes([code]) for code in b"(.]})atlesduR0bNIKJ\x85\x86\x87\x94"]
)
_PIECES = st.one_of(
    _INSTRUCTION_BYTES,
    st.sampled_from(
        [
            b"cos\nsystem\n",
            b"cnumpy\nndarray\n",
            b"cnumpy\ndtype\n",
            b"cnumpy.core.multiarray\n_reconstruct\n",
            b"cnumpy.core.multiarray\nscalar\n",
            b"cnumpy._core.numeric\n_frombuffer\n",
            b"c_codecs\nencode\n",
            b"Vlatin1\n",
            b"S'f8'\n",
            b"S'<'\n",
            b"C\x08" + bytes(8),
            b"I3\n",
            b"q\x00",
            b"h\x00",
            b"q\x01",
            b"h\x01",
            ARRAY[2:-1],
        ]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_PIECES, max_size=30))
def test_programs_of_known_instructions_give_an_error_or_data(pieces: list[bytes]) -> None:
    _outcome(b"".join(pieces) + b".")


def _mutated(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for place, removed, inserted in edits:
        at = place % len(data) if data else 0
        data = data[:at] + inserted + data[at + removed :]
    return data


def _assert_error_or_demonstrations(reader: Callable[..., Any], path: Path) -> None:
    found: Any = None
    try:
        found = reader(path, max_bytes=LIMIT)
    except DemonstrationsError as error:
        found = str(error)
    assert isinstance(found, Demonstrations) or str(path) in found


_EDITS = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.binary(max_size=3)), max_size=4
)
_VALID = [PYTHON_2, *(pickle.dumps(trajectories(2, 2), protocol=p) for p in range(6))]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(_VALID), _EDITS)
def test_damaged_pickles_give_an_error_or_demonstrations(
    tmp_path: Path, valid: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    data = _mutated(valid, edits)
    _outcome(data)
    path = tmp_path / "mutated.pkl"
    path.write_bytes(data)
    _assert_error_or_demonstrations(read_pickle, path)


def _npy(shape: str, descr: str = "'<f8'", data: bytes = bytes(8), order: str = "False") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def _zip(path: Path, members: dict[str, bytes], **options: Any) -> None:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("member", "match"),
    [
        (_npy("(1000000000000,)"), "found 8 bytes for an array of shape"),
        (_npy("(0, 1000000000000, 1, 1)", data=b""), "empty array"),
        (_npy("(1, -1, 1, 1)"), "axes"),
        (_npy("(1,) * 40"), "cannot be read"),
        (_npy("(1.0,)"), "cannot be read"),
        (_npy("(1, 1, 1, 1)", "'|O'"), "array of object"),
        (_npy("(1, 1, 1, 1)", "[('a', '<f8')]"), "expected booleans, integers or floats"),
        (_npy("(1, 1, 1, 1)", "'<U2'"), "expected booleans, integers or floats"),
        (_npy("(1, 1, 1, 1)", "('<f4', (2,))"), "expected booleans, integers or floats"),
        (_npy("(1, 1, 1, 1)", "__import__('os').system('true')"), "cannot be read"),
        (_npy("(" * 3000 + ")" * 3000), "cannot be read"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{}", "cannot be read"),
        (b"\x93NUMPY\x03\x00", "version"),
        (pickle.dumps(_Calls(os.system, "true")), "cannot be read"),
        (b"", "cannot be read"),
    ],
    ids=range(15),
)
def test_npz_with_hostile_arrays(tmp_path: Path, member: bytes, match: str) -> None:
    path = tmp_path / "bad.npz"
    _zip(path, {"observations.npy": member})
    with little_memory(), pytest.raises(DemonstrationsError, match=rf"bad\.npz: .*{match}"):
        read_npz(path, max_bytes=LIMIT)


def test_object_arrays_in_npz_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, observations=np.array([_Calls(os.system, "touch executed")], dtype=object))
    with pytest.raises(DemonstrationsError, match="arrays of objects could run code"):
        read_npz(path)
    assert not Path("executed").exists()


def test_zip_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    zeros = bytes(2 * LIMIT)
    bomb = _npy(f"({2 * LIMIT // 8},)", data=zeros)
    _zip(path, {"observations.npy": bomb}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < LIMIT / 100
    with (
        little_memory(LIMIT),
        pytest.raises(DemonstrationsError, match="bytes of arrays, expected"),
    ):
        read_npz(path, max_bytes=LIMIT)
    # One that lies about its size: the directory says 8 bytes.
    data = path.read_bytes()
    size = struct.pack("<I", len(bomb))
    path.write_bytes(data.replace(size, struct.pack("<I", 200)))
    with little_memory(LIMIT), pytest.raises(DemonstrationsError, match="cannot be read"):
        read_npz(path, max_bytes=LIMIT)


def test_paths_in_an_archive_lead_nowhere(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    path = folder / "tricks.npz"
    good = io.BytesIO()
    np.save(good, np.zeros((1, 1, 1, 1)))
    names = ("observations.npy", "../outside.npy", "/etc/outside.npy", "observations/../../x.npy")
    _zip(path, {name: good.getvalue() for name in names[:3]})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DemonstrationsError, match="give action_spaces"):
        read_npz(path)  # the others are not looked at
    _zip(path, {names[3]: good.getvalue()})
    with pytest.raises(DemonstrationsError):
        read_npz(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_two_arrays_of_a_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("observations.npy", _npy("(1,)"))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("observations.npy", _npy("(1,)"))
    with pytest.raises(DemonstrationsError, match="two arrays 'observations'"):
        read_npz(path)


def _valid_files(folder: Path) -> dict[str, tuple[bytes, Callable[..., Demonstrations]]]:
    columns = {"episode": [0, 0, 1], "observation": [1.0, 2.0, 3.0], "action": [0, 1, 1]}
    pq.write_table(pa.table(columns), folder / "x.parquet", compression="none")
    lines = ["episode,observation,action", "0,1,0", "0,2,1", "1,3,1", ""]
    (folder / "x.csv").write_text("\n".join(lines))
    np.savez(folder / "x.npz", observations=np.ones((2, 2, 1, 1)), actions=np.ones((2, 2, 1), int))
    readers = {"x.parquet": read_table, "x.csv": read_csv, "x.npz": read_npz}
    return {name: ((folder / name).read_bytes(), reader) for name, reader in readers.items()}


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["x.csv", "x.npz"]), _EDITS)
def test_damaged_tables_and_archives_give_an_error_or_demonstrations(
    tmp_path: Path, name: str, edits: list[tuple[int, int, bytes]]
) -> None:
    valid, reader = _valid_files(tmp_path)[name]
    path = tmp_path / f"mutated_{name}"
    path.write_bytes(_mutated(valid, edits))
    _assert_error_or_demonstrations(reader, path)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused(tmp_path: Path, share: float) -> None:
    for name in ("x.parquet", "x.npz"):
        valid, reader = _valid_files(tmp_path)[name]
        path = tmp_path / f"short_{name}"
        path.write_bytes(valid[: int(share * len(valid))])
        with pytest.raises(DemonstrationsError, match=f"short_{name}"):
            reader(path)


def test_parquet_bombs_are_refused_within_the_limit(tmp_path: Path) -> None:
    rows = 2**22
    path = tmp_path / "rows.parquet"
    columns = {name: np.zeros(rows, np.int8) for name in ("episode", "observation", "action")}
    pq.write_table(pa.table(columns), path)
    assert path.stat().st_size < LIMIT / 100
    allocated = pa.total_allocated_bytes()
    with (
        little_memory(LIMIT),
        pytest.raises(DemonstrationsError, match=r"rows\.parquet: .*at most"),
    ):
        read_table(path, max_bytes=LIMIT)
    assert pa.total_allocated_bytes() - allocated < LIMIT
    # A long agent's name a million times is kept once.
    path = tmp_path / "names.parquet"
    agent = pa.DictionaryArray.from_arrays(np.zeros(10**5, np.int32), ["x" * 10**4])
    columns = {
        "episode": np.arange(10**5),
        "observation": np.zeros(10**5),
        "action": np.zeros(10**5),
    }
    pq.write_table(pa.table({**columns, "agent": agent}), path, store_schema=False)
    with little_memory(4 * LIMIT):
        assert read_table(path, max_bytes=2 * LIMIT).agents == ("x" * 10**4,)


def test_a_csv_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    path.write_text("episode,observation,action\n" + "0,1,1\n" * 10**4)
    with pytest.raises(DemonstrationsError, match=r"big\.csv: found \d+ bytes, expected at most"):
        read_csv(path, max_bytes=2**17)
    path.write_text("x" * 10**6 + ",episode\n0,1\n")
    with pytest.raises(DemonstrationsError, match=r"big\.csv: .*larger than field limit"):
        read_csv(path)
    path.write_text(",".join(f"agent{i}" for i in range(10**4)) + "\n")
    with pytest.raises(DemonstrationsError, match="expected 'episode'"):
        read_csv(path)
