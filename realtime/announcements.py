"""What the worker says, as messages that visitors hear."""

from __future__ import annotations

from .mailbox import StepsChanged, TimelineChanged, WorldReady
from .protocol import Notice, Timeline, WorldChanged
from .session import unknown_words

IMAGE_GONE = Notice(
    code="image_gone",
    message="The picture is no longer on the server, so the world begins from its words and seed. "
    "Choose the picture again.",
)


def world_changed(event: WorldReady) -> WorldChanged:
    """What the world made of the words, and of a picture that was sent for it."""
    image = event.image
    return WorldChanged(
        seed=event.seed,
        prompt=event.prompt,
        understood=event.understood,
        unknown=unknown_words(event.prompt, event.understood),
        image=None if image is None else image.id,
        caption=None if image is None else image.sight.caption,
        familiar=None if image is None else image.sight.familiar,
    )


def timeline(event: TimelineChanged, fps: float) -> Timeline:
    """Where the player's walk stands; `fps` moments of it are a second."""
    return Timeline(
        now=event.now,
        fps=fps,
        moments=event.moments,
        branches=event.branches,
        replay=event.replay,
        progress=event.progress,
    )


def steps_changed(event: StepsChanged) -> Notice:
    """That the speed ladder was climbed, up or down."""
    if event.lower:
        text = f"This machine cannot keep up: {event.steps} denoising steps per frame from now on."
        return Notice(code="steps_reduced", message=text)
    return Notice(code="steps_raised", message=f"There is headroom: {event.steps} denoising steps per frame again.")
