"""Films as others write them: turned, of uneven pace, deep, see-through, interlaced, anamorphic, damaged, enormous."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.worlds.media.films import HEIGHT, WIDTH, difference, gradient, tone, written
from worldstream.worlds.media.limits import Limits, MediaError
from worldstream.worlds.media.sound import write_sound
from worldstream.worlds.media.video_in import read_video
from worldstream.worlds.media.video_out import write_video

CORNER = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
CORNER[:12, :16] = 230  # bright at the top left


@pytest.mark.parametrize(
    ("degrees", "mirrored", "shape", "bright"),
    [
        (0, False, (36, 64), (0, 0)), (90, False, (64, 36), (-1, 0)), (-90, False, (64, 36), (0, -1)),
        (180, False, (36, 64), (-1, -1)), (0, True, (36, 64), (0, -1)),
    ],
)  # fmt: skip
def test_a_film_is_turned_as_it_says(
    tmp_path: Path, degrees: int, mirrored: bool, shape: tuple[int, int], bright: tuple[int, int]
) -> None:
    path = written(
        tmp_path / "a.mp4", "libx264", "yuv420p", [CORNER] * 2,
        change=lambda stream: stream.set_display_rotation(degrees, hflip=mirrored),
    )  # fmt: skip
    video = read_video(path)
    (first, _) = video.frames()
    assert (video.height, video.width) == first.shape[:2] == shape
    assert first[bright].mean() > 200
    assert first.mean() < 80
    assert bool(video.notes) == bool(degrees or mirrored)


def test_an_uneven_pace_becomes_even_and_nothing_is_shown_at_another_time(tmp_path: Path) -> None:
    shades = [np.full((HEIGHT, WIDTH, 3), value, np.uint8) for value in (20, 60, 100, 140, 180)]
    path = written(tmp_path / "a.mkv", "libx264", "yuv420p", shades, times_ms=[0, 40, 80, 400, 440])
    video = read_video(path)
    assert video.fps == 25
    values = [frame.mean() for frame in video.frames()]
    assert np.abs(np.array(values) - np.array([20, 60, *[100] * 8, 140, 180])).max() < 3


@pytest.mark.parametrize(
    "rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(24), Fraction(12)]
)
def test_rates_are_exact(tmp_path: Path, rate: Fraction) -> None:
    path, _ = write_video(tmp_path / "a", gradient(6), rate)
    video = read_video(path)
    assert video.fps == rate
    assert len(list(video.frames())) == video.count == 6
    assert video.seconds == pytest.approx(6 / float(rate), abs=0.001)


def test_frames_can_be_read_again_and_left_early(tmp_path: Path) -> None:
    path, _ = write_video(tmp_path / "a", gradient(5), 25)
    video = read_video(path)
    begun = video.frames()
    first = next(begun)
    assert np.array_equal(first, next(iter(video.frames())))
    assert len(list(video.frames())) == 5
    assert len(list(begun)) == 4


def test_ten_bits_keep_their_shades(tmp_path: Path) -> None:
    ramp = np.linspace(20_000, 24_000, 256).astype(np.uint16)
    deep = np.broadcast_to(ramp[None, :, None], (32, 256, 3)).copy()
    path, _ = write_video(tmp_path / "a", [deep] * 2, 25, "sdr_rec709_10bit")
    video = read_video(path)
    back = next(video.deep_frames())
    assert back.dtype == np.uint16
    assert len(np.unique(back[16, :, 1])) > 2 * len(np.unique(next(video.frames())[16, :, 1]))
    assert np.abs(back[16].astype(float) - deep[16]).mean() < 40


def test_odd_sizes_alpha_fields_and_oblong_pixels(tmp_path: Path) -> None:
    odd = list(gradient(2, 65, 37))
    video = read_video(written(tmp_path / "odd.webm", "libvpx-vp9", "yuv444p", odd))
    assert (video.width, video.height) == (65, 37)
    assert difference(next(video.frames()), odd[0]) < 6

    white = [np.full((HEIGHT, WIDTH, 3), 255, np.uint8)] * 2
    video = read_video(written(tmp_path / "glass.mov", "prores_ks", "yuva444p10le", white, alpha=128))
    assert next(video.frames()).mean() == pytest.approx(128, abs=3)  # half of white on black
    assert "transparent" in " ".join(video.notes)

    combed = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    combed[::2] = 200
    fields = {"flags": "+ilme+ildct", "x264-params": "tff=1"}
    video = read_video(written(tmp_path / "fields.mp4", "libx264", "yuv420p", [combed] * 3, options=fields))
    frames = list(video.frames())
    assert len(frames) == 3
    assert np.abs(np.diff(frames[1][:, 32, 1].astype(int))).mean() < 60  # in the file it is 200 from line to line
    assert "interlaced" in " ".join(video.notes)

    def stretch(stream: object) -> None:
        stream.sample_aspect_ratio = Fraction(4, 3)  # type: ignore[attr-defined]

    video = read_video(written(tmp_path / "wide.mp4", "libx264", "yuv420p", [CORNER] * 2, change=stretch))
    assert (video.width, video.height) == next(video.frames()).shape[1::-1] == (85, 36)


def test_untagged_films_have_the_colours_that_players_assume(tmp_path: Path) -> None:
    red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    red[:] = (200, 30, 30)
    video = read_video(written(tmp_path / "a.mp4", "libx264", "yuv420p", [red] * 2))  # FFmpeg's Rec.601, unsaid
    assert difference(next(video.frames()), red) < 3


def test_sound_comes_along(tmp_path: Path) -> None:
    path, _ = write_video(tmp_path / "a", gradient(25), 25, sound=tone(3.0))
    sound = read_video(path).sound
    assert sound is not None
    assert sound.seconds == pytest.approx(1.0, abs=0.03)  # cut to the pictures; AAC ends on whole blocks
    assert read_video(write_video(tmp_path / "mute", gradient(2), 25)[0]).sound is None


@pytest.mark.parametrize("first", [0, 5])
def test_sound_and_pictures_begin_together(tmp_path: Path, first: int) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("flac", rate=8000, layout="mono")
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts = index + first  # the first frame is shown when a fifth of the sound has been heard
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = np.zeros((1, 4800), np.int16)
        samples[0, 2400] = 20_000
        sound = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = 8000, 0, Fraction(1, 8000)
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    film = read_video(tmp_path / "a.mkv")
    assert len(list(film.frames())) == 10
    heard = film.sound
    assert heard is not None
    assert int(np.argmax(heard.samples[0])) == pytest.approx(2400 - first * 320, abs=8)


def broken(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(MediaError) as caught:
        list(read_video(path).frames())
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path.name}: ")
    return str(caught.value)


def test_what_is_no_film_is_said_in_one_line(tmp_path: Path) -> None:
    assert "cannot be decoded" in broken(tmp_path / "empty.mp4", b"")
    assert "cannot be decoded" in broken(tmp_path / "zeros.mp4", bytes(2000))
    other, _ = write_video(tmp_path / "other", gradient(2), 25)
    assert "cannot be decoded" in broken(tmp_path / "list.mp4", f"ffconcat version 1.0\nfile '{other}'\n".encode())
    assert "cannot be decoded" in broken(tmp_path / "hls.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n")
    song, _ = write_sound(tmp_path / "song", tone(0.2), "mp3")
    assert "only sound" in broken(tmp_path / "song.mp3", song.read_bytes())
    with pytest.raises(FileNotFoundError):
        read_video(tmp_path / "none.mp4")


def test_films_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.mp4", "libx264", "yuv420p", list(gradient(60))).read_bytes()
    assert "cannot be decoded" in broken(tmp_path / "cut.mp4", whole[: len(whole) // 2])
    whole = written(tmp_path / "a.mkv", "libx264", "yuv420p", list(gradient(60))).read_bytes()
    assert "breaks off after" in broken(tmp_path / "cut.mkv", whole[: len(whole) // 2])


def test_damaged_films_never_raise_anything_else(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    whole = written(tmp_path / "a.mp4", "libx264", "yuv420p", list(gradient(6))).read_bytes()
    for _ in range(40):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 12):
            data[place] = int(random.integers(256))
        (tmp_path / "hurt.mp4").write_bytes(data)
        try:
            assert all(frame.shape[2] == 3 for frame in read_video(tmp_path / "hurt.mp4").frames())
        except MediaError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_limits_hold_while_decoding(tmp_path: Path) -> None:
    path, _ = write_video(tmp_path / "a", gradient(30), 25)
    for limits, said in (
        (Limits(frames=10), "30 frames, more than 10"), (Limits(seconds=1.0), "longer than 1 s"),
        (Limits(pixels=1000), "64 x 36 is too large"), (Limits(side_px=50), "64 x 36 is too large"),
    ):  # fmt: skip
        with pytest.raises(MediaError, match=said):
            read_video(path, limits)
    few = read_video(path, Limits(total_pixels=10 * 64 * 36)).frames()
    with pytest.raises(MediaError, match="too much to decode"):
        list(few)


def test_one_frame_a_day_later_is_no_million_frames(tmp_path: Path) -> None:
    times = [0, 40, 80, 86_400_000]
    path = written(tmp_path / "far.mkv", "libx264", "yuv420p", list(gradient(4)), times_ms=times)
    with pytest.raises(MediaError, match="longer than 600 s"):
        list(read_video(path).frames())


def test_gif_and_picture_bombs_take_no_memory(tmp_path: Path) -> None:
    side = (60_000).to_bytes(2, "little")
    palette = b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    image = b"\x2c" + bytes(4) + side + side + b"\0" + b"\x02\x02\x4c\x01\x00\x3b"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    broken(tmp_path / "bomb.gif", b"GIF89a" + side + side + palette + image)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 100_000


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_turning_agrees_with_ffmpegs_own_reading_of_the_matrix(tmp_path: Path, degrees: int) -> None:
    path = written(
        tmp_path / "a.mp4", "libx264", "yuv420p", [CORNER], change=lambda stream: stream.set_display_rotation(degrees)
    )
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        lying = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    counterclockwise = round(frame.rotation / 90)  # what av_display_rotation_get says
    assert difference(next(read_video(path).frames()), np.rot90(lying, counterclockwise)) < 2


BOMBS = """
import resource, sys
from pathlib import Path
from worldstream.worlds.media.pictures import read_picture
from worldstream.worlds.media.video_in import read_video
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).iterdir()):
    for read in (lambda path: list(read_video(path).frames()), read_picture):
        try:
            read(path)
            print(path.name, "was read")
        except ValueError as error:
            assert "\\n" not in str(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_bombs_of_every_kind_leave_memory_flat_in_a_process_of_its_own(tmp_path: Path) -> None:
    side = (60_000).to_bytes(2, "little")
    image = b"\x2c" + bytes(4) + side + side + b"\0" + b"\x02\x02\x4c\x01\x00\x3b"
    (tmp_path / "a.gif").write_bytes(b"GIF89a" + side + side + b"\x80\0\0" + b"\0\0\0\xff\xff\xff" + image)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(4_000_000))), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    (tmp_path / "b.png").write_bytes(png)
    (tmp_path / "c.mp4").write_bytes(png)
    canvas = (16_383).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas + canvas
    (tmp_path / "d.webp").write_bytes(
        b"RIFF" + struct.pack("<I", 4 + len(extended) + 200) + b"WEBP" + extended + bytes(200)
    )
    large = np.zeros((64, 64, 3), np.uint8)
    film = written(tmp_path / "e.mp4", "libx264", "yuv420p", [large]).read_bytes()
    width_and_height = struct.pack(">HH", 64, 64)
    assert film.count(width_and_height) >= 1
    (tmp_path / "e.mp4").write_bytes(film.replace(width_and_height, struct.pack(">HH", 60_000, 60_000)))
    done = subprocess.run(
        [sys.executable, "-c", BOMBS, str(tmp_path)], capture_output=True, text=True, check=True, env=os.environ
    )
    assert "was read" not in done.stdout.replace("e.mp4 was read", "")  # its frames say that they are 64 x 64 after all
    assert int(done.stdout.split()[-1]) < 60, done.stdout  # MiB
