import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.storage.clients import ObjectChangedError
from pipeline.storage.files import file_status, list_files, open_parquet, read_bytes
from pipeline.storage.object_store import ObjectReader
from pipeline.storage.storage import open_storage


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path):
    if request.param == "folder":
        for name in ("tmp", "table", "table/deeper"):
            (tmp_path / name).mkdir()
        return tmp_path
    return request.getfixturevalue("bucket") / "some" / "where"


def test_files_directly_in_a_folder_sorted(place):
    storage = open_storage(place)
    for name in ("table/b", "table/a", "table/deeper/c"):
        storage.put(name, name.encode())
    entries = list_files(place / "table")
    assert [(entry.name, entry.size) for entry in entries] == [("a", 7), ("b", 7)]
    assert entries[0] == file_status(place / "table" / "a")
    assert entries[0].mtime_ns > 1_700_000_000 * 10**9


def test_nothing_there(place):
    assert list_files(place / "none") == []
    assert file_status(place / "none") is None
    with pytest.raises(FileNotFoundError):
        read_bytes(place / "none")
    with pytest.raises(FileNotFoundError), pq.ParquetFile(open_parquet(place / "none")):
        pass


def test_read_what_was_written(place):
    storage = open_storage(place)
    storage.put("table/x", b"first")
    storage.put("table/x", b"second")
    assert read_bytes(place / "table" / "x") == b"second"
    storage.delete(["table/x", "table/none"])
    storage.delete(["table/none"])
    assert file_status(place / "table" / "x") is None


def test_create_refuses_a_taken_name(place):
    storage = open_storage(place)
    assert storage.create("table/x", b"first")
    assert not storage.create("table/x", b"second")
    assert read_bytes(place / "table" / "x") == b"first"


@pytest.mark.parametrize("rows", [0, 1000, 300_000])
def test_parquet(place, rows):
    table = pa.table({"number": range(rows), "text": [str(number) for number in range(rows)]})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=100_000, compression="none")
    open_storage(place).put("table/x.parquet", buffer.getvalue())
    with pq.ParquetFile(open_parquet(place / "table" / "x.parquet")) as file:
        assert file.read(columns=["text"]).equals(table.select(["text"]))
        assert file.read().equals(table)


def test_reader_is_a_file(bucket):
    content = bytes(range(256)) * 20_000  # more than a block
    open_storage(bucket).put("x", content)
    reader = ObjectReader(bucket / "x")
    assert reader.read() == content
    assert reader.read() == b""
    for start in (5_000_000, 0, 300, 5_119_990):
        assert reader.seek(start) == reader.tell() == start
        assert reader.read(100) == content[start : start + 100]
    assert reader.seek(-5, io.SEEK_END) == len(content) - 5
    assert io.BufferedReader(reader).read() == content[-5:]


def test_reader_does_not_mix_versions(bucket):
    storage = open_storage(bucket)
    storage.put("x", b"a" * 100_000)
    reader = ObjectReader(bucket / "x")
    storage.put("x", b"b" * 100_000)
    with pytest.raises(ObjectChangedError):
        reader.read()


def test_version(bucket):
    storage = open_storage(bucket)
    storage.put("x", b"first")
    version = file_status(bucket / "x").version
    assert read_bytes(bucket / "x", version=version) == b"first"
    storage.put("x", b"second")
    with pytest.raises(ObjectChangedError, match="has changed"):
        read_bytes(bucket / "x", version=version)
