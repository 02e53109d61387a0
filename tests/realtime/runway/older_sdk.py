"""Run by test_older_sdk.py in a process of its own, where `runwayml` is version 3.0.0: talks to a server and prints
what came of it, as JSON. Argument: the server's address; a picture as a data URI comes on standard input."""

# mypy: ignore-errors
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import json
import sys
import time

import runwayml
from runwayml import RunwayML


def main() -> None:
    picture = sys.stdin.read()
    client = RunwayML(api_key="key", base_url=sys.argv[1], max_retries=0, _strict_response_validation=True)
    found = {"version": runwayml.__version__, "models": {}}
    for body in (
        {"model": "gen4_turbo", "ratio": "1584:672", "duration": 10, "seed": 4_294_967_295},
        {"model": "gen3a_turbo", "ratio": "768:1280", "duration": 5, "prompt_text": "A lake"},
    ):
        created = client.image_to_video.create(prompt_image=picture, **body)
        while (task := client.tasks.retrieve(created.id)).status in ("PENDING", "THROTTLED", "RUNNING"):
            time.sleep(0.02)
        found["models"][body["model"]] = [task.status, len(task.output), task.created_at.isoformat()]
    both = [{"uri": picture, "position": "first"}, {"uri": picture, "position": "last"}]
    created = client.image_to_video.create(model="gen3a_turbo", prompt_image=both)
    client.tasks.delete(created.id)
    found["deleted"] = refusal(lambda: client.tasks.retrieve(created.id))
    found["wrong"] = refusal(
        lambda: client.image_to_video.create(model="gen4_turbo", prompt_image=picture, ratio="1:1")
    )
    house = client.organization.retrieve()
    found["organization"] = [house.credit_balance, house.tier.max_monthly_credit_spend]
    print(json.dumps(found))


def refusal(call):
    try:
        call()
    except runwayml.APIStatusError as error:
        return [type(error).__name__, error.body]
    return ["nothing", None]


main()
