"""Large files: hashed in pieces, decoded from the disk, and never held in memory."""

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from pipeline.errors import DecodeError
from pipeline.photos import content as contents
from pipeline.photos import load_photo as loading
from pipeline.photos import pillow_reader
from pipeline.photos.decode import decode
from pipeline.photos.load_photo import LoadSpec, load_sample
from pipeline.records import Failure, ImageRef, Sample
from tests.helpers.image_files import encoded, quadrants, smooth_photo

SPEC = LoadSpec(ViTImageProcessorPil(size={"height": 32, "width": 32}), None, 64, 10**8)


def ref_of(file):
    return ImageRef(Path(file).name, None, str(file), 0, 0)


@pytest.fixture
def all_files_are_large(monkeypatch):
    monkeypatch.setattr(contents, "_MOST_BYTES_IN_MEMORY", 0)


FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM", "TGA", "AVIF")


@pytest.mark.parametrize("file_format", FORMATS)
def test_large_files_give_the_same_sample(file_format, tmp_path, monkeypatch):
    file = tmp_path / "photo"
    file.write_bytes(encoded(smooth_photo(90, 60), file_format))
    small = load_sample(ref_of(file), SPEC)
    monkeypatch.setattr(contents, "_MOST_BYTES_IN_MEMORY", 0)
    large = load_sample(ref_of(file), SPEC)
    assert (large.pixels == small.pixels).all()
    assert (large.photo == small.photo).all()
    assert (large.content_hash, large.ref) == (small.content_hash, small.ref)


def test_large_deep_and_compressed_tiffs(tmp_path, all_files_are_large):
    values = np.random.default_rng(0).integers(0, 65536, (60, 90)).astype(np.uint16)
    for name, options in (("plain", {}), ("packed", {"compression": "tiff_lzw"})):
        Image.fromarray(values).save(tmp_path / f"{name}.tif", **options)
        sample = load_sample(ref_of(tmp_path / f"{name}.tif"), SPEC)
        with (tmp_path / f"{name}.tif").open("rb") as stream:
            assert (sample.width, decode(stream).rgb.shape) == (90, (60, 90, 3))


@pytest.mark.usefixtures("all_files_are_large")
@pytest.mark.parametrize("data", [b"text", b"", encoded(quadrants(), "PNG")[:-20]], ids=["text", "empty", "cut"])
def test_reasons_are_those_of_small_files(data, tmp_path):
    (tmp_path / "a.png").write_bytes(data)
    failed = load_sample(ref_of(tmp_path / "a.png"), SPEC)
    assert isinstance(failed, Failure)
    assert failed.content_hash == hashlib.blake2b(data, digest_size=16).hexdigest()


@pytest.mark.usefixtures("all_files_are_large")
@pytest.mark.parametrize("moment", ["hash_stream", "decode"])
@pytest.mark.parametrize("is_broken", [False, True])
def test_change_after_hashing_or_while_decoding(moment, is_broken, tmp_path, monkeypatch):
    """A verdict on bytes of two versions would be none."""
    file = tmp_path / "a.png"
    file.write_bytes(encoded(quadrants(), "PNG")[: -20 if is_broken else None])
    module = contents if moment == "hash_stream" else loading
    real = getattr(module, moment)

    def meddle(*args, **options):
        try:
            return real(*args, **options)
        finally:
            with file.open("r+b") as stream:
                stream.write(b"\x89")
            os.utime(file, ns=(0, 5))

    monkeypatch.setattr(module, moment, meddle)
    failed = load_sample(ref_of(file), SPEC)
    assert failed == Failure(ref_of(file), "it changed while it was read; the next run takes it up again")


def test_disk_that_fails_while_decoding_is_no_verdict(tmp_path, all_files_are_large, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(encoded(smooth_photo(300, 300), "JPEG"))

    class Failing(io.FileIO):
        def readinto(self, buffer):
            if self.tell() > 600:
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)

    monkeypatch.setattr(contents, "hash_stream", lambda stream: stream.seek(0, 2) and "hash")
    monkeypatch.setattr(
        loading, "open", lambda file, mode: io.BufferedReader(Failing(file), buffer_size=100), raising=False
    )
    failed = load_sample(ref_of(tmp_path / "a.jpg"), SPEC)
    assert (failed.reason, failed.content_hash) == ("can't be read: Input/output error", None)


MEASURE = """
import resource, sys
from pipeline.photos.content import read_content
from pipeline.photos.decode import decode, load_decoders
from pipeline.records import ImageRef
load_decoders()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in sys.argv[1:]:
    with open(file, "rb") as stream:
        content = read_content(ImageRef(file, None, file, 0, 0), stream)
        print(decode(content.file).width)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_is_bounded_by_the_picture(tmp_path):
    """Small pictures with megabytes behind them, as after a download with space set aside."""
    files = []
    for file_format in ("JPEG", "PNG", "TIFF"):
        files.append(tmp_path / file_format)
        files[-1].write_bytes(encoded(quadrants(), file_format))
        os.truncate(files[-1], 120_000_000)  # sparse
    done = subprocess.run([sys.executable, "-c", MEASURE, *files], capture_output=True, text=True)
    *widths, megabytes = map(int, done.stdout.split())
    assert widths == [48, 48, 48], done.stderr
    assert megabytes < 60


@pytest.mark.parametrize("file_format", ["WEBP", "AVIF"])
def test_formats_read_whole_are_bounded_by_their_bytes(file_format, monkeypatch):
    data = encoded(quadrants(), file_format)
    monkeypatch.setattr(pillow_reader, "_MOST_BYTES", len(data) + 999)
    assert decode(io.BytesIO(data + bytes(999))).width == 48
    with pytest.raises(DecodeError, match="read into memory whole"):
        decode(io.BytesIO(data + bytes(1000)))


def test_sample_of_a_large_file_is_a_sample(tmp_path):
    file = tmp_path / "large.png"
    noise = np.random.default_rng(0).integers(0, 256, (2400, 2600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, compress_level=0)
    assert file.stat().st_size > contents._MOST_BYTES_IN_MEMORY
    sample = load_sample(ref_of(file), SPEC)
    assert isinstance(sample, Sample)
    assert sample.content_hash == hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
