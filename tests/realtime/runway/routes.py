"""The 69 operations of the hosted API, as its official clients call them, and where outcomes of tests are noted."""

from __future__ import annotations

import json
import os
from pathlib import Path

CREATES = (
    "text_to_video image_to_video video_to_video text_to_image character_performance image_upscale video_upscale "
    "video_to_hdr video_to_audio text_to_speech sound_effect speech_to_speech voice_dubbing voice_isolation "
    "avatar_videos generate/video generate/image generate/audio recipes/ad_localization "
    "recipes/marketing_stock_image recipes/multi_shot_video recipes/product_ad recipes/product_campaign_image "
    "recipes/product_swap recipes/product_ugc"
)
OTHERS = """
    GET tasks/{id}, DELETE tasks/{id}, POST uploads, GET organization, POST organization/usage,
    GET organization/webapp/usage, GET organization/webapp/audit_logs, GET organization/webapp/audit_logs/{id},
    POST avatars, GET avatars, GET avatars/{id}, PATCH avatars/{id}, DELETE avatars/{id}, GET avatar_usage,
    GET avatar_conversations, GET avatar_conversations/{id}, DELETE avatar_conversations/{id},
    POST documents, GET documents, GET documents/{id}, PATCH documents/{id}, DELETE documents/{id},
    POST voices, GET voices, GET voices/{id}, PATCH voices/{id}, DELETE voices/{id}, POST voices/preview,
    POST realtime_sessions, GET realtime_sessions/{id}, DELETE realtime_sessions/{id},
    POST routers, GET routers, GET routers/{id}, PATCH routers/{id}, DELETE routers/{id}, GET routers/{id}/requests,
    GET workflows, GET workflows/{id}, POST workflows/{id}, GET workflow_invocations/{id},
    POST realtime_sessions/{id}/consume, POST realtime_sessions/{id}/connect_backend, POST robotics_action_to_video
"""
ROUTES = tuple(f"POST /v1/{name}" for name in CREATES.split()) + tuple(
    "{} /v1/{}".format(*route.split()) for route in OTHERS.split(",")
)
VERSIONS = {"python": "5.24.0", "older python": "3.0.0", "node": "4.20.1"}


def note(route: str, sdk: str, outcome: str, detail: str = "", answered_by: str = "") -> None:
    """Into the file that benchmarks/compatibility.py asks for, if it does. `outcome` is works or refused."""
    assert route in ROUTES, route
    target = os.environ.get("WORLDSTREAM_COMPATIBILITY")
    if target:
        said = {"route": route, "sdk": sdk, "version": VERSIONS[sdk], "outcome": outcome, "detail": detail}
        with Path(target).open("a") as file:
            file.write(json.dumps(said | {"answered_by": answered_by}) + "\n")
