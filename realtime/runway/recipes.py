"""The seven recipes: one request, several jobs. Each is a workflow of the same engine as the operator's own, run as one
task. What no model here can do honestly is refused with a 400 that says what would change that."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from ..services import Asset
from ..workflows import recipes
from ..workflows.graph import read_graph
from .bodies import FLAG, IMG, VID, Body, many, one_of, option, whole, words
from .desk import At, Desk
from .errors import ApiError, invalid
from .models import Catalogue
from .ordering import created
from .pricing import total
from .sizes import size_of

# members have types that functions make
# mypy: disable-error-code="valid-type"
# pyright: reportInvalidTypeForm=false

_JUNE = one_of("2026-06", "unsafe-latest")
_LANGUAGES = (
    "ar", "zh", "zh-Hant", "nl", "en", "fr", "de", "hi", "id", "it", "ja", "ko", "pl", "pt", "ru", "es", "sv", "th",
    "tr", "uk", "vi", "el",
)  # fmt: skip
_SHOT_RATIOS = one_of("1280:720", "720:1280", "960:960", "1920:1080", "1080:1920", "1440:1440")
_AD_RATIOS = one_of("1280:720", "720:1280", "960:960", "834:1112", "1920:1080", "1080:1920", "1440:1440", "1248:1664")
_CHECKPOINT = 'name one in data/models/aliases.json, e.g. {{"{name}": {{"model": "/path/of/a/VACE/checkpoint"}}}}'


Given = tuple[str, str, tuple[str | int, ...]]  # a medium as it was named, what it must be, where in the body


class Picture(Body):
    uri: IMG


class Film(Body):
    uri: VID


class View(Picture):
    view: Literal["front", "side", "back"] = option()


class AdLocalization(Body):
    version: _JUNE
    referenceImage: Picture
    targetLanguage: one_of(*_LANGUAGES)


class StockImage(Body):
    version: _JUNE
    prompt: words(3500)
    referenceImage: Picture = option()
    outputCount: whole(1, 4) = option(4)
    quality: Literal["low", "medium", "high"] = option("high")


class ShotOrder(Body):
    prompt: words(512, 3)
    duration: whole(1, 15)


class _Shots(Body):
    version: _JUNE
    firstFrame: Picture = option()
    ratio: _SHOT_RATIOS = option("1280:720")
    duration: one_of(5, 10, 15) = option(10)
    audio: FLAG = option(True)


class Story(_Shots):
    mode: Literal["auto"]
    prompt: words(2500)


class ShotList(_Shots):
    mode: Literal["custom"]
    shots: many(ShotOrder, 5, 3)

    @model_validator(mode="after")
    def adds_up(self) -> ShotList:
        seconds = sum(shot.duration for shot in self.shots)
        if seconds != self.duration:
            raise PydanticCustomError(
                "custom",
                "The durations of the shots come to {seconds} s and must come to duration, {duration} s",
                {"seconds": seconds, "duration": self.duration},
            )
        return self


class ProductAd(Body):
    version: one_of("2026-06", "2026-07", "unsafe-latest")
    productImages: many(Picture, 10, 1)
    styleImages: many(Picture, 4) = option([])
    productInfo: words(2500, 0) = option("")
    userConcept: words(3500, 0) = option("")
    ratio: _AD_RATIOS = option("1280:720")
    duration: whole(4, 15) = option(10)
    audio: FLAG = option(False)


class CampaignImage(Body):
    version: _JUNE
    image: Picture
    prompt: words(3500)


class ProductSwap(Body):
    version: _JUNE
    referenceVideo: Film
    originalProductImage: Picture
    newProductImages: many(View, 10, 1)
    duration: whole(4, 15) = option(10)
    resolution: one_of("720p", "1080p") = option("720p")
    audio: FLAG = option(False)


class ProductUgc(Body):
    version: _JUNE
    characterImage: Picture
    productImage: Picture
    productInfo: words(2500, 0) = option("")
    userConcept: words(3500, 0) = option("")
    ratio: one_of("720:1280", "1080:1920") = option("720:1280")
    duration: whole(4, 15) = option(15)
    audio: FLAG = option(True)


def add(app: FastAPI) -> None:
    for route in (
        ad_localization,
        marketing_stock_image,
        multi_shot_video,
        product_ad,
        product_campaign_image,
        product_swap,
        product_ugc,
    ):
        app.post(f"/recipes/{route.__name__}")(route)


async def ad_localization(body: AdLocalization, at: At) -> dict[str, Any]:
    """Always refused so far."""
    raise ApiError(
        400,
        "Localizing an ad means to read, translate and redraw the words in a picture. No model that this server can "
        "load does that yet, and no setting changes it; redraw the words yourself, then use image_to_video.",
    )


async def marketing_stock_image(body: StockImage, at: At) -> dict[str, Any]:
    given: list[Given] = [(picture.uri, "image", ("referenceImage", "uri")) for picture in _there(body.referenceImage)]
    graph = recipes.stock_image(body.prompt, body.outputCount, body.quality, _seed(), len(given))
    return await _run(at, "marketing_stock_image", body.version, body.prompt, graph, given)


async def multi_shot_video(body: Annotated[Story | ShotList, Field(discriminator="mode")], at: At) -> dict[str, Any]:
    if isinstance(body, Story):
        shots = recipes.story_shots(body.prompt, body.duration)
    else:
        shots = [(shot.prompt, shot.duration) for shot in body.shots]
    given: list[Given] = [(picture.uri, "image", ("firstFrame", "uri")) for picture in _there(body.firstFrame)]
    graph = recipes.multi_shot(shots, size_of(body.ratio), _seed(), body.audio, bool(given))
    return await _run(at, "multi_shot_video", body.version, " ".join(p for p, _ in shots), graph, given)


async def product_ad(body: ProductAd, at: At) -> dict[str, Any]:
    given: list[Given] = [(each.uri, "image", ("productImages", n, "uri")) for n, each in enumerate(body.productImages)]
    given += [(each.uri, "image", ("styleImages", n, "uri")) for n, each in enumerate(body.styleImages)]
    graph = recipes.product_ad(
        body.userConcept,
        body.productInfo,
        len(body.productImages),
        len(body.styleImages),
        size_of(body.ratio),
        body.duration,
        _seed(),
        body.audio,
    )
    return await _run(at, "product_ad", body.version, body.userConcept or body.productInfo, graph, given)


async def product_campaign_image(body: CampaignImage, at: At) -> dict[str, Any]:
    graph = recipes.campaign_image(body.prompt, _seed())
    given: list[Given] = [(body.image.uri, "image", ("image", "uri"))]
    return await _run(at, "product_campaign_image", body.version, body.prompt, graph, given)


async def product_swap(body: ProductSwap, at: At) -> dict[str, Any]:
    model = _checkpoint(at.request, "product_swap", "Putting one product in another's place in a video")
    given: list[Given] = [(body.originalProductImage.uri, "image", ("originalProductImage", "uri"))]
    given += [(each.uri, "image", ("newProductImages", n, "uri")) for n, each in enumerate(body.newProductImages)]
    before = await at.first_try()
    if before is not None:
        return created(before)
    film = await at.gather(body.referenceVideo.uri, "video", ("referenceVideo", "uri"))
    if not 1.8 <= film.seconds <= 15:
        raise invalid(["referenceVideo", "uri"], f"The video must be 1.8 to 15 s long, not {film.seconds:.1f} s.")
    size = size_of("16:9" if film.width_px >= film.height_px else "9:16", body.resolution)
    views = [each.view or "" for each in body.newProductImages]
    graph = recipes.swap(body.duration, size, views, _seed(), body.audio, model)
    return await _run(at, "product_swap", body.version, "product swap", graph, given, {"video": film})


async def product_ugc(body: ProductUgc, at: At) -> dict[str, Any]:
    model = _checkpoint(at.request, "product_ugc", "A film of a given person with a given product")
    given: list[Given] = [(body.characterImage.uri, "image", ("characterImage", "uri"))]
    given += [(body.productImage.uri, "image", ("productImage", "uri"))]
    size = size_of(body.ratio)
    graph = recipes.ugc(body.userConcept, body.productInfo, size, body.duration, _seed(), body.audio, model)
    return await _run(at, "product_ugc", body.version, body.userConcept or body.productInfo, graph, given)


def _there(picture: Picture | None) -> list[Picture]:
    return [] if picture is None else [picture]


def _seed() -> int:
    return secrets.randbits(32)


def _checkpoint(request: Request, name: str, deed: str) -> str:
    """The checkpoint that the operator has named for a recipe. Raises a 400 that says how."""
    catalogue: Catalogue = request.app.state.catalogue
    model = catalogue.of(name).model
    if not model:
        how = _CHECKPOINT.format(name=name)
        raise ApiError(400, f"{deed} needs a checkpoint that keeps what it is shown, and this server has none: {how}.")
    return model


async def _run(
    at: Desk,
    name: str,
    version: str,
    prompt: str,
    graph: dict[str, Any],
    given: Sequence[Given],
    media: dict[str, Asset] | None = None,
) -> dict[str, Any]:
    """Receive the pictures, which become the media `image`, `image_1` …, and order the graph as one task."""
    before = await at.first_try()
    if before is not None:
        return created(before)
    catalogue: Catalogue = at.request.app.state.catalogue
    inputs = {id: asset.blob for id, asset in (media or {}).items()}
    for index, (uri, wanted, path) in enumerate(given):
        asset = await at.gather(uri, wanted, path)
        inputs[f"image_{index}" if index else "image"] = asset.blob
    credits = total(catalogue, read_graph(graph), {})
    params = {"graph": graph, "recipe": name, "version": version, "prompt": prompt}
    return created(await at.order("workflow", params, inputs, name, credits))
