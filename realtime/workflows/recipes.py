"""The recipes of the API as graphs: several jobs that make one thing together.

Each function gives the JSON that `graph.read_graph` reads. What is seen is made by the server's own world; pictures
that are given are media nodes called `image`, `image_1` and so on, in the order in which they were given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

SHOTS = 5  # of a story
MOST_PRODUCT_SHOTS = 3
_VIEWS = (
    "A wide establishing shot.",
    "The camera moves slowly closer.",
    "A close view of what matters most.",
    "The camera pans gently to the side.",
    "The camera draws back for the last view.",
)
_PRODUCT_VIEWS = ("The camera moves slowly closer.", "The camera circles it gently.", "The camera draws back.")


def stock_image(prompt: str, count: int, quality: str, seed: int, logos: int) -> dict[str, Any]:
    """Pictures for a brief; a logo guides them as the reference @logo."""
    node = _still(f"{prompt} @logo" if logos else prompt, (1536, 1024), seed, count, ["logo"] if logos else [])
    node["params"]["quality"] = quality
    return _graph([*_images(logos), node], ["pictures"])


def campaign_image(prompt: str, seed: int) -> dict[str, Any]:
    """Four pictures in the style of a brief, guided by the reference @product."""
    return _graph([*_images(1), _still(f"{prompt} @product", (1536, 1024), seed, 4, ["product"])], ["pictures"])


def multi_shot(
    shots: Sequence[tuple[str, int]], size: tuple[int, int], seed: int, audio: bool, first: bool
) -> dict[str, Any]:
    """Clips one after another, (words, seconds) each; the first may begin with a given picture."""
    nodes = _images(1 if first else 0)
    for index, (prompt, seconds) in enumerate(shots):
        nodes.append(_clip(index, prompt, seconds, size, seed, "image" if first and index == 0 else ""))
    return _joined(
        nodes, len(shots), size, sum(seconds for _, seconds in shots), seed, audio, " ".join(p for p, _ in shots)
    )


def product_ad(
    concept: str, info: str, products: int, styles: int, size: tuple[int, int], seconds: int, seed: int, audio: bool
) -> dict[str, Any]:
    """One shot for each of the first pictures of a product, which it begins with; styles guide all of them. Styles are
    the media after the products."""
    count = max(1, min(products, MOST_PRODUCT_SHOTS, seconds // 2))
    nodes = _images(products + styles)
    words = " ".join(part for part in (concept, info) if part) or "A product in good light."
    for index in range(count):
        view = _PRODUCT_VIEWS[index]
        node = _clip(index, f"{words} {view}", _share(seconds, count, index), size, seed, _image(index))
        _guide(node, [("style" if n == 0 else f"style{n}", _image(products + n)) for n in range(styles)])
        nodes.append(node)
    return _joined(nodes, count, size, seconds, seed, audio, words)


def swap(
    seconds: int, size: tuple[int, int], views: Sequence[str], seed: int, audio: bool, model: str
) -> dict[str, Any]:
    """A thing in a video replaced by another: media `video`, `image` (the thing that goes) and then the new thing, with
    the `views` that its pictures show. Needs a checkpoint that edits with references, `model`: it draws the whole of
    each frame anew, since nothing here finds the old thing by its picture."""
    looks = [f"@new{n} is its {view} view." for n, view in enumerate(views) if view]
    words = " ".join(["The product of @old is replaced by that of @new0.", *looks])
    params = {"prompt": words, "seconds": seconds, "seed": seed, "model": model}
    video = {"video": {"from": "video"}}
    node: dict[str, Any] = {"id": "shot0", "kind": "edit", "name": "Swap", "params": params, "inputs": video}
    _guide(node, [*((f"new{n}", _image(n + 1)) for n in range(len(views))), ("old", "image")])
    nodes = [{"id": "video", "kind": "video"}, *_images(len(views) + 1), node]
    return _joined(nodes, 1, size, seconds, seed, audio, "", fits=True)


def ugc(
    concept: str, info: str, size: tuple[int, int], seconds: int, seed: int, audio: bool, model: str
) -> dict[str, Any]:
    """A person shows a product: media `image` (the person) and `image_1` (the product). Needs a checkpoint that keeps
    the subjects of references, `model`."""
    words = " ".join(part for part in ("@person shows @product to the camera.", concept, info) if part)
    node = _clip(0, words, seconds, size, seed, "")
    node["params"]["model"] = model
    _guide(node, [("person", "image"), ("product", "image_1")])
    return _joined([*_images(2), node], 1, size, seconds, seed, audio, words)


def story_shots(prompt: str, seconds: int) -> list[tuple[str, int]]:
    """A story cut into exactly five shots: its sentences in five groups of about one length, and where there are fewer
    than five, the same sentence from another distance."""
    sentences = [s.strip() for s in re.split(r"(?<=[.!?…])\s+|\n+", prompt) if s.strip()] or [prompt.strip() or prompt]
    shots = []
    for index in range(SHOTS):
        if len(sentences) >= SHOTS:
            start, end = (round(edge * len(sentences) / SHOTS) for edge in (index, index + 1))
            words = " ".join(sentences[start:end])
        else:
            words = f"{sentences[index * len(sentences) // SHOTS]} {_VIEWS[index]}"
        shots.append((words, _share(seconds, SHOTS, index)))
    return shots


def _share(seconds: int, count: int, index: int) -> int:
    """Whole seconds of one of `count` parts; the first ones take what is left over."""
    return seconds // count + (1 if index < seconds % count else 0)


def _image(index: int) -> str:
    return f"image_{index}" if index else "image"


def _images(count: int) -> list[dict[str, Any]]:
    return [{"id": _image(index), "kind": "image"} for index in range(count)]


def _still(prompt: str, size: tuple[int, int], seed: int, count: int, tags: list[str]) -> dict[str, Any]:
    params = {"prompt": prompt, "width": size[0], "height": size[1], "seed": seed, "count": count}
    node: dict[str, Any] = {"id": "pictures", "kind": "still", "name": "Pictures", "params": params, "inputs": {}}
    _guide(node, [(tag, _image(index)) for index, tag in enumerate(tags)])
    return node


def _clip(index: int, prompt: str, seconds: int, size: tuple[int, int], seed: int, first: str) -> dict[str, Any]:
    width, height = size
    return {
        "id": f"shot{index}",
        "kind": "clip",
        "name": f"Shot {index + 1}",
        "params": {
            "prompt": prompt,
            "seconds": seconds,
            "width": width,
            "height": height,
            "seed": (seed + index) % 2**32,
        },
        "inputs": {"first": {"from": first}} if first else {},
    }


def _guide(node: dict[str, Any], references: Sequence[tuple[str, str]]) -> None:
    """Give a job the pictures that its prompt calls @tag: (tag, node)."""
    if references:
        node["params"]["references"] = [{"input": f"ref{n}", "tag": tag} for n, (tag, _) in enumerate(references)]
        node["inputs"] |= {f"ref{n}": {"from": image} for n, (_, image) in enumerate(references)}


def _joined(
    nodes: list[dict[str, Any]],
    count: int,
    size: tuple[int, int],
    seconds: int,
    seed: int,
    audio: bool,
    words: str,
    fits: bool = False,
) -> dict[str, Any]:
    """The shots as one film, with sounds that fit it where they are wanted; where those fail, the silent film. `fits`:
    brought to the size, for shots of another."""
    last = "shot0"
    if count > 1 or fits:
        films = {f"video{index}": {"from": f"shot{index}"} for index in range(count)}
        size_params = {"width": size[0], "height": size[1]}
        nodes.append({"id": "film", "kind": "join", "name": "Film", "params": size_params, "inputs": films})
        last = "film"
    if not audio:
        return _graph(nodes, [last])
    params = {"seconds": seconds, "prompt": words, "mux": True, "seed": seed}
    nodes.append(
        {"id": "sound", "kind": "soundtrack", "name": "Sound", "params": params, "inputs": {"video": {"from": last}}}
    )
    return _graph(nodes, [f"sound|{last}"])


def _graph(nodes: list[dict[str, Any]], outputs: list[str]) -> dict[str, Any]:
    return {"version": 1, "nodes": nodes, "outputs": outputs}
