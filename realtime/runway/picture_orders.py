"""What the bodies of the picture endpoints mean to the jobs of this machine."""

from __future__ import annotations

from .errors import invalid
from .ordering import Order
from .sizes import size_of

MAX_SIDE_PX = 16_384


async def still(order: Order) -> None:
    """text_to_image."""
    order.kind = "still"
    order.refuse_if_absent()
    references, source = [], (0, 0)
    for index, image in enumerate(order.take("referenceImages") or []):
        name = f"ref{index}"
        asset = await order.gather(name, image["uri"], "image", "referenceImages", index, "uri")
        source = source if all(source) else (asset.width_px, asset.height_px)
        references.append({"input": name, "tag": image.get("tag") or f"image_{index + 1}"})
    mask = order.take("maskUri")
    if mask is not None:
        raise invalid(["maskUri"], "no local model edits a part of a picture; use video_to_video, or leave it out")
    width, height = size_of(order.take("ratio", "1024:1024"), source=source)
    count = order.take("outputCount", 1)
    order.seed()
    order.put(prompt=order.take("promptText"), width=width, height=height, references=references or None)
    order.put(count=count if count > 1 else None, format=order.take("outputFormat"), quality=order.take("quality"))
    order.put(draft=order.alias.draft or None)
    order.credits = order.alias.cost(pictures=count) or 0


async def upscale(order: Order) -> None:
    """image_upscale."""
    order.kind = "upscale_image"
    order.refuse_if_absent()
    factor = order.take("scaleFactor", 2)
    image = await order.gather("image", order.take("imageUri"), "image", "imageUri")
    longest = max(image.width_px, image.height_px) * factor
    if longest > MAX_SIDE_PX:
        reason = (
            f"{image.width_px}x{image.height_px} pixels {factor} times over are too many; {MAX_SIDE_PX} a side at most"
        )
        raise invalid(["scaleFactor"], reason, "too_big")
    sharpen, detail, grain = order.take("sharpen"), order.take("ultraDetail"), order.take("smartGrain")
    order.put(factor=factor, sharpen=None if sharpen is None else sharpen / 100)
    order.put(detail=None if detail is None else detail / 100, grain=None if grain is None else grain / 100)
    order.credits = order.alias.cost(pictures=1)
