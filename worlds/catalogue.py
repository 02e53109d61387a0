"""The open checkpoints on this machine: added from folders, opened, verified, removed.

`add` looks at every file of the folders (model_folder.py), decides what the world consists of and writes a card
(model_card.py). Nothing is loaded. Errors are WeightsError (errors.py), of one line.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from . import weights
from .errors import WeightsError
from .model_card import ModelCard, PartRecord, card_path, check_name, find_card, models_folder, write_card
from .model_folder import Found, Say, Tokenizer, hashed, licence, look, named
from .wan import families
from .wan.checkpoint_files import Checkpoint, open_checkpoint, pickle_roots
from .wan.families import FAMILIES, USUAL_SOURCE, Family
from .wan.layout_parts import TextShape
from .wan.memory import GIB
from .wan.recognise import Recognised, check_lora, recognise

MARK = ".copied"  # in a folder that --copy made: only such a folder is ever deleted


def add(
    folders: Sequence[Path], data: Path, name: str | None = None, family: str | None = None, copy: bool = False,
    say: Say = lambda _: None,
) -> ModelCard:  # fmt: skip
    """Put the checkpoint in `folders` into the catalogue.

    `name`: what it will be called; where it is the name of a family it also says which of several possible families it
    is. `family` says that by itself. `copy`: the weights are copied into the catalogue.
    Raises WeightsError; the catalogue then is as it was.
    """
    if family is not None:
        families.family(family)
    if name is not None:
        check_name(name)
    found = look(folders, say)
    chosen = _choose_family(found, folders, family or (name if name in FAMILIES else None))
    name = name or chosen.name
    target = card_path(data, name)
    if target.exists() or name in {card.name for card in weights.catalogue(data)}:
        raise WeightsError(f"there is a world named {name!r} already; choose another with --as, or remove it first")
    parts = _parts(found, chosen, folders)
    records = [_record(role, part, say) for role, part in parts.items()]
    if families.TOKENIZER in chosen.needs:
        records.append(_tokenizer_record(_tokenizer(found, parts[families.TEXT], folders)))
    terms, source = licence(folders, chosen.source)
    card = ModelCard(name, chosen.name, tuple(records), terms, source, copied=copy)
    if not copy:
        write_card(target, card)
        return card
    card = _copied(card, models_folder(data) / name, say)
    try:
        write_card(target, card)
    except OSError:
        shutil.rmtree(models_folder(data) / name)
        raise
    return card


def _choose_family(found: Found, folders: Sequence[Path], wanted: str | None) -> Family:
    """The one family that keys and shapes allow, or the wanted one among them. Raises WeightsError."""
    possible = {name: part for part in found.of(families.TRANSFORMER) for name in part.families}
    if not possible:
        held = "; ".join(f"{part.checkpoint.path.name}: {part.describe()}" for part in found.parts)
        raise WeightsError(
            f"{named(folders)} holds no transformer that can be served ({held}); supported are {', '.join(FAMILIES)}"
        )
    if wanted is None and "longlive" in possible:  # the LoRA tells it from the other three
        with_lora = bool(found.of(families.LORA))
        possible = {n: p for n, p in possible.items() if not p.checkpoint.root or (n == "longlive") == with_lora}
    if wanted is not None and wanted not in possible:
        raise WeightsError(
            f"the weights in {named(folders)} are not {wanted}: they may be {', '.join(sorted(possible))}"
        )
    if wanted is None and len(possible) > 1:
        raise WeightsError(
            f"{named(folders)} may be {', '.join(sorted(possible))}, which have the same keys; say which with --as NAME"
        )
    return FAMILIES[wanted or next(iter(possible))]


def _parts(found: Found, family: Family, folders: Sequence[Path]) -> dict[str, Recognised]:
    """One file for every role that the family needs, and both decoders where both are there. Raises WeightsError."""
    fitting = [part for part in found.of(families.TRANSFORMER) if family.name in part.families]
    parts = {families.TRANSFORMER: _with_root(_only(fitting, families.TRANSFORMER), family)}
    for role in family.needs:
        roles = (families.VAE, families.TAEHV) if role in (families.DECODER, families.VAE) else (role,)
        if role == families.TOKENIZER:
            continue
        parts |= {each: _only(found.of(each), each) for each in roles if found.of(each)}
        if not any(each in parts for each in (roles if role == families.DECODER else (role,))):
            raise WeightsError(
                f"{family.name} also needs its {role}, which is not in {named(folders)}; usually "
                f"{USUAL_SOURCE[role]}: put it there, or name its folder too"
            )
    if families.LORA in parts:
        check_lora(parts[families.LORA], parts[families.TRANSFORMER])
    _check_widths(parts)
    return parts


def _only(parts: Sequence[Recognised], role: str) -> Recognised:
    if len(parts) > 1:
        both = " and ".join(str(part.checkpoint.path) for part in parts[:2])
        raise WeightsError(
            f"{both} are both a {role}; leave one of them out of the folder, or name the files one by one"
        )
    return parts[0]


def _with_root(part: Recognised, family: Family) -> Recognised:
    """The entry of the pickle that upstream's own commands load, where the file has several."""
    checkpoint = part.checkpoint
    if not checkpoint.pickled or family.root == checkpoint.root or family.root not in pickle_roots(checkpoint.path):
        return part
    return recognise(open_checkpoint(checkpoint.path, family.root))


def _check_widths(parts: dict[str, Recognised]) -> None:
    """Encoders must speak the transformer's width. Raises WeightsError."""
    base = parts[families.TRANSFORMER]
    for role, width in (
        (families.TEXT, getattr(base.shape, "text", 0)),
        (families.CLIP, getattr(base.shape, "image", 0)),
    ):
        given = getattr(parts[role].shape, "dim", 0) if role in parts else width
        if given != width:
            raise WeightsError(
                f"{parts[role].checkpoint.path} is a {role} of width {given}, {base.checkpoint.path} needs {width}; "
                "give the one that it was trained with"
            )


def _tokenizer(found: Found, text: Recognised, folders: Sequence[Path]) -> Tokenizer:
    if not found.tokenizers:
        where = USUAL_SOURCE[families.TOKENIZER]
        raise WeightsError(f"the text encoder's tokenizer.json is not in {named(folders)}; usually {where}")
    tokenizer = found.tokenizers[0]
    assert isinstance(text.shape, TextShape)
    if tokenizer.vocabulary > text.shape.vocabulary:
        raise WeightsError(
            f"the tokenizer in {tokenizer.folder} has {tokenizer.vocabulary} pieces, the text encoder "
            f"{text.checkpoint.path} knows {text.shape.vocabulary}; give the tokenizer that belongs to it"
        )
    return tokenizer


def _record(role: str, part: Recognised, say: Say) -> PartRecord:
    checkpoint: Checkpoint = part.checkpoint
    paths = checkpoint.files if checkpoint.index is None else (*checkpoint.files, checkpoint.index)
    files = tuple(hashed(path, say) for path in paths)
    dtypes = tuple(sorted({str(dtype).removeprefix("torch.") for _, dtype in checkpoint.signature.values()}))
    return PartRecord(role, str(_entry(checkpoint).absolute()), files, checkpoint.root, part.parameters, dtypes)


def _entry(checkpoint: Checkpoint) -> Path:
    """What to open: the index that lists the shards, or the one file."""
    return checkpoint.index or checkpoint.path


def _tokenizer_record(tokenizer: Tokenizer) -> PartRecord:
    names = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model")
    files = tuple(hashed(tokenizer.folder / n, lambda _: None) for n in names if (tokenizer.folder / n).is_file())
    return PartRecord(families.TOKENIZER, str(tokenizer.folder.absolute()), files)


def _copied(card: ModelCard, folder: Path, say: Say) -> ModelCard:
    """The files of a card in a folder of the catalogue, all or none. Paths in the card become relative to the card."""
    if folder.exists() and not (folder / MARK).is_file():
        raise WeightsError(
            f"{folder} exists and was not made by --copy; choose another name with --as, or leave --copy out"
        )
    free = shutil.disk_usage(_existing(folder)).free
    if card.bytes > free:
        raise WeightsError(
            f"{folder} has {free / GIB:.1f} GiB free, the weights take {card.bytes / GIB:.1f}; leave --copy out"
        )
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        parts = tuple(_copied_part(part, temporary / part.role.replace(" ", "-"), folder, say) for part in card.parts)
        (temporary / MARK).touch()
        shutil.rmtree(folder, ignore_errors=True)  # of an `add` that was killed before it wrote its card
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return replace(card, parts=parts)


def _copied_part(part: PartRecord, to: Path, folder: Path, say: Say) -> PartRecord:
    to.mkdir(parents=True)
    here = Path(folder.name) / to.name
    records = []
    for file in part.files:
        source = Path(file.path)
        say(f"copying {source.name}")
        shutil.copyfile(source, to / source.name)
        records.append(replace(file, path=str(here / source.name)))
    entry = Path(part.entry)
    return replace(part, files=tuple(records), entry=str(here / entry.name if entry.is_file() else here))


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def entry_path(card: ModelCard, data: Path, role: str) -> Path:
    """The file or folder of a part. Raises WeightsError when the world has none or the file has gone."""
    part = card.part(role)
    if part is None:
        raise WeightsError(f"{card.name} has no {role}; add it again with one")
    path = models_folder(data) / part.entry  # an absolute path stays as it is
    if not path.exists():
        raise WeightsError(
            f"{path}, the {role} of {card.name}, is missing; put it back, or remove and add the model again"
        )
    return path


def open_part(card: ModelCard, data: Path, role: str) -> Recognised:
    """A part ready to load (wan/loading.py). Raises WeightsError, also when the file has changed."""
    part = card.part(role)
    path = entry_path(card, data, role)
    assert part is not None
    for file in part.files:
        place = models_folder(data) / file.path
        if not place.is_file() or place.stat().st_size != file.bytes:
            raise WeightsError(
                f"{place} is missing or has changed since {card.name} was added; put it back, or remove and add it"
            )
    found = recognise(open_checkpoint(path, part.root or None))
    if found.role != role:
        raise WeightsError(
            f"{path} is now a {found.role}, not the {role} of {card.name}; remove and add the model again"
        )
    return found


def verify(card: ModelCard, data: Path, say: Say = lambda _: None) -> None:
    """Hash every file again. Raises WeightsError on the first that differs."""
    for part in card.parts:
        for file in part.files:
            place = models_folder(data) / file.path
            if not place.is_file() or hashed(place, say).sha256 != file.sha256:
                raise WeightsError(
                    f"{place} is not what was added as {card.name}; put it back, or remove and add the model"
                )


def remove(name: str, data: Path) -> None:
    """Delete a card, and its weights only if they were copied. A card that cannot be read can be removed too."""
    path = card_path(data, name)
    if not path.is_file():
        find_card(data, name)  # says what there is
    path.unlink()
    copied = models_folder(data) / name
    if (copied / MARK).is_file() and not copied.is_symlink():
        shutil.rmtree(copied)
