"""Says in every file that a model drew it: a C2PA manifest, signed (Content Credentials specification 2.x).

The manifest names the model that really ran, the seed and what the work began from; `read` finds what a file says, and
whether a byte of it was changed since. Bound to the bytes: it is made after everything else.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import c2pa

from .certificate import Credential

GENERATION = "org.worldstream.generation"
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
DRAWN, COMPOSED, ENHANCED = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "algorithmicallyEnhanced"
PROCEDURAL = "algorithmicMedia"  # sounds that are computed, not learnt
SETTINGS: dict[str, Any] = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_trust": False}}
_MEDIA_TYPES = {
    ".webp": "image/webp",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".mov": "video/quicktime",
    ".zip": "application/x-zip",
}


class ProvenanceError(ValueError):
    """A file that cannot be signed or read. One line."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What is said of a file."""

    model: str  # the local model that really ran
    source_type: str = DRAWN  # of the IPTC's digital source types
    facts: Mapping[str, Any] = field(default_factory=dict)  # JSON: seed, prompt, size, notes
    began_from: Sequence[Path] = ()  # files that it was made from; their own manifests are kept


@dataclass(frozen=True, slots=True)
class Found:
    """What a file says. `intact`: not a byte changed since it was signed. `trusted`: by the roots that were given."""

    intact: bool
    trusted: bool
    signer: str
    generator: str
    model: str
    source_type: str
    facts: Mapping[str, Any]
    problems: tuple[str, ...]
    ingredients: tuple[str, ...]


def media_type(path: Path) -> str:
    return _MEDIA_TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def can_sign(path: Path) -> bool:
    """Whether C2PA has a place for a manifest in this kind of file; Ogg and EXR have none, a ZIP of them has."""
    return media_type(path) in c2pa.Builder.get_supported_mime_types()


class Provenance:
    """Signs files. One per process; not for several threads at once."""

    def __init__(self, credential: Credential, version: str) -> None:
        self._credential, self._version = credential, version
        self._context = c2pa.Context.from_dict(SETTINGS)

    def sign(self, path: Path, claim: Claim) -> bool:
        """Write the manifest into the file; False where its kind has no place for one. Raises ProvenanceError."""
        if not can_sign(path):
            return False
        signed = path.with_name(f".signed{path.suffix}")
        info = c2pa.C2paSignerInfo(self._credential.algorithm, self._credential.chain, self._credential.key, None)
        try:
            with (
                c2pa.Signer.from_info(info) as signer,
                c2pa.Builder(self._manifest(path, claim), self._context) as builder,
            ):
                parent = _parent(claim)
                if parent is not None:
                    builder.set_intent(c2pa.C2paBuilderIntent.EDIT)  # says that the parent was opened
                for source in claim.began_from:
                    _add_ingredient(builder, source, source == parent)
                with path.open("rb") as before, signed.open("w+b") as after:
                    builder.sign(signer, media_type(path), before, after)
            signed.replace(path)
        except c2pa.C2paError as error:
            raise ProvenanceError(f"{path.name} cannot be signed: {_line(error)}") from None
        finally:
            signed.unlink(missing_ok=True)
        return True

    def _manifest(self, path: Path, claim: Claim) -> str:
        action = {
            "action": "c2pa.created" if _parent(claim) is None else "c2pa.edited",
            "digitalSourceType": SOURCE + claim.source_type,
            "softwareAgent": {"name": f"worldstream {claim.model}", "version": self._version},
        }
        facts = {"model": claim.model, **claim.facts}
        return json.dumps(
            {
                "claim_generator_info": [{"name": "worldstream", "version": self._version}],
                "title": path.name,
                "assertions": [
                    {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
                    {"label": GENERATION, "data": facts},
                ],
            }
        )


def _parent(claim: Claim) -> Path | None:
    """The file that was edited: the first of those that an edit began from."""
    if claim.source_type not in (COMPOSED, ENHANCED):
        return None
    return next((source for source in claim.began_from if can_sign(source)), None)


def _add_ingredient(builder: Any, source: Path, parent: bool) -> None:
    if not can_sign(source):
        return
    relation = "parentOf" if parent else "componentOf"
    with source.open("rb") as stream:
        builder.add_ingredient(json.dumps({"title": source.name, "relationship": relation}), media_type(source), stream)


def read(path: Path, roots: bytes = b"") -> Found | None:
    """What a file says of itself; None where it says nothing. `roots` are PEM certificates that are trusted.

    Raises ProvenanceError where the file or its manifest cannot be read at all.
    """
    settings: dict[str, Any] = {"verify": {"verify_trust": bool(roots)}}
    if roots:
        settings["trust"] = {"trust_anchors": roots.decode()}
    try:
        with c2pa.Context.from_dict(settings) as context, path.open("rb") as stream:
            reader = c2pa.Reader.try_create(media_type(path), stream, context=context)
            if reader is None:
                return None
            with reader:
                told, state = json.loads(reader.json()), reader.get_validation_state()
    except c2pa.C2paError as error:
        raise ProvenanceError(f"{path.name} cannot be read: {_line(error)}") from None
    return _found(told, state or "Invalid")


def _found(told: Mapping[str, Any], state: str) -> Found:
    manifest = told["manifests"][told["active_manifest"]]
    said = {part["label"].partition("__")[0]: part["data"] for part in manifest.get("assertions", [])}
    actions = said.get("c2pa.actions.v2", said.get("c2pa.actions", {})).get("actions", [])
    types = [str(action["digitalSourceType"]) for action in actions if "digitalSourceType" in action]
    facts = dict(said.get(GENERATION, {}))
    failures = told.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    info = manifest.get("claim_generator_info", [{}])[0]
    signature = manifest.get("signature_info", {})
    return Found(
        intact=state in ("Valid", "Trusted"),
        trusted=state == "Trusted",
        signer=f"{signature.get('issuer', 'nobody')} ({signature.get('common_name', '')})",
        generator=f"{info.get('name', '')} {info.get('version', '')}".strip(),
        model=str(facts.get("model", "")),
        source_type=types[-1].rpartition("/")[2] if types else "",
        facts=facts,
        problems=tuple(str(f.get("explanation") or f["code"]) for f in failures if not f["code"].endswith("untrusted")),
        ingredients=tuple(str(part.get("title", "")) for part in manifest.get("ingredients", [])),
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
