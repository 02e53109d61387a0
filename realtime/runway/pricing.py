"""What a job costs that no endpoint of its own has priced: nodes of workflows."""

from __future__ import annotations

from typing import Any

from ..workflows.graph import Graph, Node, filled
from .models import Catalogue

_PICTURES = ("still", "upscale_image")
_MODELS = {  # kinds whose usual price is that of a name of the API
    "clip": "gen4.5",
    "still": "gen4_image",
    "edit": "aleph2",
    "speech": "eleven_multilingual_v2",
    "sound": "eleven_text_to_sound_v2",
    "soundtrack": "mirelo_sfx_2_0",
    "upscale_image": "magnific_precision_upscaler_v2",
    "upscale_video": "magnific_video_upscaler_creative",
    "frame_rate": "enhance_frame_rate",
    "hdr": "ruby",
    "voice_change": "eleven_multilingual_sts_v2",
    "isolate": "eleven_voice_isolation",
    "dub": "eleven_voice_dubbing",
}
FREE = ("join", "portrait")


def named(node: Node) -> str:
    """The name of the API that a node's task is counted under."""
    return node.model or _MODELS.get(node.kind, node.kind)


def price(catalogue: Catalogue, node: Node, params: dict[str, Any]) -> int:
    """Whole credits of a node's task."""
    if node.kind in FREE:
        return 0
    alias = catalogue.of(named(node), node.kind)
    return alias.cost(
        seconds=_number(params.get("seconds")),
        pictures=int(_number(params.get("count", 1))) if node.kind in _PICTURES else 0,
        characters=len(str(params.get("text", ""))),
    )


def total(catalogue: Catalogue, graph: Graph, values: dict[str, Any]) -> int:
    """Whole credits of all nodes of a graph."""
    known = {node.id: values.get(node.id, node.value) for node in graph.nodes if node.kind == "primitive"}
    jobs = (node for node in graph.nodes if node.is_job)
    return sum(price(catalogue, node, {k: filled(v, known) for k, v in node.params.items()}) for node in jobs)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else 0.0
