"""What the model drew says so, whoever asks; a changed byte is found."""

import json
import stat
import wave
import zipfile
from pathlib import Path
from typing import Any

import av
import c2pa
import numpy as np
import pytest
from PIL import Image

from worldstream.realtime.governance import provenance
from worldstream.realtime.governance.certificate import CertificateError, Credential, credential
from worldstream.realtime.governance.provenance import COMPOSED, Claim, Provenance, ProvenanceError, read

PICTURE = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Credential:
    return credential(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def signing(own: Credential) -> Provenance:
    return Provenance(own, "1.2.3")


def video(path: Path, codec: str, pix_fmt: str) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(PICTURE, format="rgb24")))
        container.mux(stream.encode(None))


def made(folder: Path, name: str) -> Path:
    path = folder / name
    if path.suffix in (".png", ".jpg", ".webp"):
        Image.fromarray(PICTURE).save(path)
    elif path.suffix == ".mp4":
        video(path, "libx264", "yuv420p")
    elif path.suffix == ".mov":
        video(path, "prores_ks", "yuv422p10le")
    elif path.suffix == ".wav":
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(16000)
            sound.writeframes(PICTURE.tobytes()[:6400])
    else:
        with zipfile.ZipFile(path, "w") as folder_of:
            folder_of.writestr("0000.exr", PICTURE.tobytes())
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.mp4", "a.mov", "a.wav", "a.zip"])
def test_every_kind_of_file_says_who_made_it(tmp_path: Path, signing: Provenance, own: Credential, name: str) -> None:
    path = made(tmp_path, name)
    assert read(path) is None
    assert signing.sign(path, Claim("nano", facts={"seed": 7, "prompt": "sea at dusk"}))
    found = read(path, own.root)
    assert found is not None
    assert found.intact
    assert found.trusted
    assert (found.model, found.facts["seed"], found.source_type) == ("nano", 7, "trainedAlgorithmicMedia")
    assert found.generator == "worldstream 1.2.3"
    assert found.problems == ()
    assert [p.name for p in tmp_path.iterdir()] == [name]  # nothing is left beside it


def test_the_packages_own_reader_agrees(tmp_path: Path, signing: Provenance) -> None:
    path = made(tmp_path, "a.mp4")
    signing.sign(path, Claim("nano"))
    with c2pa.Reader(str(path)) as reader:
        assert reader.get_validation_state() == "Valid"
        told = json.loads(reader.json())
    assert told["manifests"][told["active_manifest"]]["signature_info"]["alg"] == "Es256"


def test_a_signed_film_plays_as_before(tmp_path: Path, signing: Provenance) -> None:
    path = made(tmp_path, "a.mp4")
    before = [f.to_ndarray(format="rgb24") for f in av.open(str(path)).decode(video=0)]
    signing.sign(path, Claim("nano"))
    after = [f.to_ndarray(format="rgb24") for f in av.open(str(path)).decode(video=0)]
    assert np.array_equal(before, after)


@pytest.mark.parametrize("name", ["a.png", "a.mp4", "a.wav"])
def test_a_changed_byte_is_found(tmp_path: Path, signing: Provenance, name: str) -> None:
    path = made(tmp_path, name)
    before = path.read_bytes()
    signing.sign(path, Claim("nano"))
    whole = bytearray(path.read_bytes())
    at = bytes(whole).rindex(before[-24:-12])  # in the picture's or the sound's own bytes
    whole[at + 4] ^= 1
    path.write_bytes(whole)
    found = read(path)
    assert found is not None
    assert not found.intact
    assert found.problems


def test_another_certificate_is_intact_but_not_trusted(tmp_path: Path, signing: Provenance) -> None:
    path = made(tmp_path, "a.png")
    signing.sign(path, Claim("nano"))
    found = read(path, credential(tmp_path / "another").root)
    assert found is not None
    assert found.intact
    assert not found.trusted


def test_an_edit_names_what_it_was_made_from(tmp_path: Path, signing: Provenance) -> None:
    source, edit = made(tmp_path, "source.mp4"), made(tmp_path, "edit.mp4")
    signing.sign(source, Claim("nano"))
    assert signing.sign(edit, Claim("nano", COMPOSED, began_from=[source, made(tmp_path, "b.png")]))
    found = read(edit)
    assert found is not None
    assert found.intact
    assert sorted(found.ingredients) == ["b.png", "source.mp4"]
    assert found.source_type == COMPOSED


def test_what_has_no_place_for_it_is_left_alone(tmp_path: Path, signing: Provenance) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(b"OggS" + bytes(100))
    assert not signing.sign(path, Claim("nano"))
    assert path.read_bytes() == b"OggS" + bytes(100)


def test_a_broken_file_is_one_line(tmp_path: Path, signing: Provenance) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"not a picture at all")
    with pytest.raises(ProvenanceError, match=r"a\.png cannot be signed"):
        signing.sign(path, Claim("nano"))
    assert path.read_bytes() == b"not a picture at all"


def test_the_certificate_is_made_once_and_its_key_is_private(tmp_path: Path) -> None:
    first, second = credential(tmp_path), credential(tmp_path)
    assert first == second
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert first.algorithm == "es256"


def test_certificates_of_ones_own(tmp_path: Path, signing: Provenance) -> None:
    own = credential(tmp_path / "own")
    chain, key = tmp_path / "own" / "certificate.pem", tmp_path / "own" / "key.pem"
    assert credential(tmp_path / "unused", chain, key) == own
    assert not (tmp_path / "unused").exists()
    with pytest.raises(CertificateError, match="needs both files"):
        credential(tmp_path, chain)
    with pytest.raises(CertificateError, match=r"missing\.pem cannot be read"):
        credential(tmp_path, tmp_path / "missing.pem", key)
    (tmp_path / "odd.pem").write_text("nonsense")
    with pytest.raises(CertificateError, match="holds no PEM certificates"):
        credential(tmp_path, tmp_path / "odd.pem", key)
    with pytest.raises(CertificateError, match="not a PEM private key"):
        credential(tmp_path, chain, tmp_path / "odd.pem")
    credential(tmp_path / "other")
    with pytest.raises(CertificateError, match="is not that of the first certificate"):
        credential(tmp_path, chain, tmp_path / "other" / "key.pem")


def test_media_types_do_not_hang_on_the_machine() -> None:
    assert provenance.media_type(Path("A.WEBP")) == "image/webp"
    assert provenance.media_type(Path("a.unknown")) == "application/octet-stream"
