import itertools
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_engine import picture, with_exif, write_picture

from pssdet import images
from pssdet.errors import BadInput
from pssdet.images import encode_jpeg, evenly_spaced, find_files, load, read_pictures

SCENE = Path(__file__).parent / "data" / "rendered_scene.jpg"


def encoded(suffix, pixels):
    """A file's bytes of RGB (or grey, or RGBA) pixels."""
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return cv2.imencode(suffix, pixels)[1].tobytes()


def png_that_claims(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


class TestLoad:
    def test_paths_bytes_and_arrays_are_the_same(self):
        expected = cv2.imread(str(SCENE))[..., ::-1]
        for image in (SCENE, str(SCENE), SCENE.read_bytes(), expected):
            np.testing.assert_array_equal(load(image), expected)

    def test_order_is_rgb(self):
        red = np.zeros((4, 6, 3), np.uint8)
        red[..., 0] = 255
        np.testing.assert_array_equal(load(encoded(".png", red)), red)

    @pytest.mark.parametrize("suffix", sorted(images.PICTURE_SUFFIXES))
    def test_formats(self, suffix):
        pixels = picture(200, 150)
        decoded = load(encoded(suffix, pixels))
        assert decoded.shape == (150, 200, 3)
        assert abs(decoded.mean() - pixels.mean()) < 3

    @pytest.mark.parametrize(
        "pixels",
        [
            picture(6, 4)[..., 0],
            np.dstack([picture(6, 4), picture(6, 4)[..., 0]]),
            picture(6, 4).astype(np.uint16) * 257,
        ],
        ids=["grey", "alpha", "16 bits"],
    )
    def test_other_pixels_become_rgb(self, pixels):
        decoded = load(encoded(".png", pixels))
        assert (decoded.shape, decoded.dtype) == ((4, 6, 3), np.uint8)
        colour = pixels[..., :3] if pixels.ndim == 3 else pixels[..., None]
        np.testing.assert_array_equal(decoded, np.broadcast_to(colour & 255, (4, 6, 3)))

    def test_exif_orientation_is_applied(self):
        jpeg = encoded(".jpg", picture(40, 24))
        upright = load(jpeg)
        np.testing.assert_array_equal(load(with_exif(jpeg, 6)), np.rot90(upright, -1))

    def test_jpeg_without_its_end(self, tmp_path):
        file = tmp_path / "half.jpg"
        file.write_bytes(SCENE.read_bytes()[:40_000])
        with pytest.raises(BadInput, match=r"half\.jpg is a JPEG whose end is missing"):
            load(file)

    def test_no_cut_jpeg_passes(self):
        jpeg = encoded(".jpg", picture(16, 16))
        load(jpeg)
        for length in range(len(jpeg)):
            with pytest.raises(BadInput):
                load(jpeg[:length])

    def test_cut_progressive_jpeg_with_a_thumbnail(self):
        pixels = picture(64, 48)
        progressive = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
        jpeg = with_exif(progressive, 1, thumbnail=encoded(".jpg", picture(8, 8)))
        assert load(jpeg).shape == (48, 64, 3)
        with pytest.raises(BadInput, match="end is missing"):
            load(jpeg[:-200])

    def test_data_behind_a_jpeg_do_not_matter(self):
        jpeg = encoded(".jpg", picture(16, 16))
        np.testing.assert_array_equal(load(jpeg + bytes(100_000)), load(jpeg))

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"no picture at all",
            encoded(".png", picture(64, 48))[:2000],
            b"\xff\xd8\xff",
            b"\xff\xd8garbage",
            bytes(99),
        ],
        ids=["empty", "text", "half a PNG", "JPEG start", "JPEG garbage", "zeros"],
    )
    def test_no_picture(self, content, tmp_path):
        file = tmp_path / "bad.jpg"
        file.write_bytes(content)
        with pytest.raises(BadInput, match=r"bad\.jpg is .*; "):
            load(file)
        with pytest.raises(BadInput, match=r"^from the camera is "):
            load(content, "from the camera")

    @pytest.mark.parametrize("path", ["missing.jpg", ".", "a\0b.jpg"])
    def test_unreadable_path(self, path, tmp_path):
        with pytest.raises(BadInput, match=r"cannot be read .*check the path"):
            load(tmp_path / path)

    def test_bomb_that_opencv_refuses(self):
        with pytest.raises(BadInput, match="more than 200 million pixels"):
            load(png_that_claims(40_000, 40_000))

    def test_too_many_pixels(self, monkeypatch):
        monkeypatch.setattr(images, "MAX_PIXELS", 100)
        for image in (picture(11, 10), encoded(".png", picture(11, 10))):
            with pytest.raises(BadInput, match="million pixels"):
                load(image)
        assert load(picture(10, 10)).shape == (10, 10, 3)

    @pytest.mark.parametrize(
        "array",
        [
            np.zeros((4, 4), np.uint8),
            np.zeros((4, 4, 4), np.uint8),
            np.zeros((4, 4, 3)),
            np.zeros((1, 4, 4, 3), np.uint8),
        ],
        ids=["grey", "alpha", "floats", "batch"],
    )
    def test_arrays_that_are_no_rgb_picture(self, array):
        with pytest.raises(BadInput, match="not uint8"):
            load(array)


class TestFindFiles:
    def test_folder_gives_its_pictures_by_name(self, tmp_path):
        for name in ("b.png", "a.JPG", "c.webp", "notes.txt", ".hidden.jpg", "deep/below.png"):
            write_picture(tmp_path / Path(name).with_suffix(".png"), 4, 4).rename(tmp_path / name)
        (tmp_path / "folder.jpg").mkdir()
        assert [file.name for file in find_files([tmp_path])] == ["a.JPG", "b.png", "c.webp"]

    def test_sources_keep_their_order(self, tmp_path):
        second, first = write_picture(tmp_path / "x" / "b.png", 4, 4), write_picture(tmp_path / "a.png", 4, 4)
        odd = tmp_path / "without_suffix"
        odd.write_bytes(first.read_bytes())
        assert find_files([tmp_path / "x", odd, first, first]) == [second, odd, first, first]

    def test_nothing_named(self):
        with pytest.raises(BadInput, match="no picture is named"):
            find_files([])

    def test_missing(self, tmp_path):
        with pytest.raises(BadInput, match=r"no file or folder .*nowhere"):
            find_files([SCENE, tmp_path / "nowhere"])

    def test_folder_without_pictures(self, tmp_path):
        (tmp_path / "notes.txt").touch()
        with pytest.raises(BadInput, match="holds no pictures"):
            find_files([tmp_path])

    def test_path_that_the_system_refuses(self, tmp_path):
        with pytest.raises(BadInput, match="cannot be read"):
            find_files([tmp_path / ("x" * 5000)])

    def test_broken_video(self, tmp_path):
        file = tmp_path / "clip.mp4"
        file.write_bytes(bytes(1000))
        with pytest.raises(BadInput, match=r"clip\.mp4 is damaged"):
            find_files([SCENE, file])


class TestEncodeJpeg:
    def test_order_is_rgb(self):
        blue = np.zeros((16, 16, 3), np.uint8)
        blue[..., 2] = 255
        np.testing.assert_allclose(load(encode_jpeg(blue, 92)).mean((0, 1)), [0, 0, 255], atol=2)

    def test_picture_too_wide(self):
        with pytest.raises(BadInput, match=r"wide\.png cannot be saved as a JPEG"):
            encode_jpeg(np.zeros((2, 66_000, 3), np.uint8), 92, "wide.png")


def test_evenly_spaced():
    assert evenly_spaced(range(10), 4) == [0, 2, 5, 7]
    assert evenly_spaced("abc", 3) == evenly_spaced("abc", 9) == ["a", "b", "c"]
    assert evenly_spaced([], 4) == []


@pytest.fixture
def video(tmp_path):
    file = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for level in (0, 100, 200):
        frame = np.full((48, 64, 3), level, np.uint8)
        frame[..., 2] = 255
        writer.write(frame)
    writer.release()
    return file


class TestReadPictures:
    def test_files_are_not_read_yet(self, tmp_path):
        file = tmp_path / "gone.jpg"
        assert list(read_pictures([file])) == [(str(file), "gone", file)]

    def test_frames_of_a_video(self, video):
        frames = list(read_pictures(find_files([video])))
        assert [frame.name for frame in frames] == [f"{video}#00000{index}" for index in range(3)]
        assert [frame.stem for frame in frames] == ["clip_000000", "clip_000001", "clip_000002"]
        for frame, level in zip(frames, (0, 100, 200), strict=True):
            np.testing.assert_allclose(load(frame.image).mean((0, 1)), [255, level, level], atol=4)

    def test_frames_come_one_at_a_time(self, video, monkeypatch):
        read = []
        opened = cv2.VideoCapture

        class Counting:
            def __init__(self, path):
                self._capture = opened(path)

            def get(self, what):
                return self._capture.get(what)

            def read(self):
                read.append(1)
                return self._capture.read()

            def release(self):
                read.append("released")
                self._capture.release()

        monkeypatch.setattr(images.cv2, "VideoCapture", Counting)
        stream = read_pictures([video])
        assert len(list(itertools.islice(stream, 2))) == 2
        assert read == [1, 1]
        stream.close()
        assert read == [1, 1, "released"]


def test_a_video_that_ends_early_is_said_to(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120))
    generator = np.random.default_rng(0)
    for _ in range(6):
        writer.write(generator.integers(0, 255, (120, 160, 3), dtype=np.uint8))
    writer.release()
    whole = list(read_pictures([path]))
    assert len(whole) == 6
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    *frames, rest = read_pictures([path])
    assert 0 < len(frames) < 6
    with pytest.raises(BadInput, match="ends early"):
        load(rest.image, rest.name)
