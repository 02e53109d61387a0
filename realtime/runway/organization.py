"""The organization: credits, limits, use by day, and the audit log. All keys of a server are one organization with one
workspace; whoever may see one key's figures here sees everybody's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import FastAPI, Query

from ..store.governance import AuditRow, Entry
from .bodies import Body, is_uuid, option
from .desk import At, checked
from .errors import invalid, not_found
from .ledgers import Ledger, TaskLedger
from .lists import DAY_S, Cursor, Limit, after, day_of, moment
from .models import Catalogue
from .pages import cursor_of, page, stamp

UNLIMITED = 1_000_000_000  # where credits are not counted; the contract wants a number
USAGE_DAYS, USUAL_DAYS = 90, 30
WORKSPACE = {"workspaceId": 1, "workspaceName": "worldstream"}
_WHAT = "An event with this id"
_ACTIONS = {  # what this server notes -> the contract's word for it
    "task.create": "GenerationCreated",
    "workflow.run": "GenerationCreated",
    **{f"{thing}.create": "AssetCreated" for thing in ("avatar", "document", "voice")},
    **{f"{thing}.update": "AssetUpdated" for thing in ("avatar", "document", "voice")},
    **{f"{thing}.delete": "AssetDeleted" for thing in ("avatar", "document", "voice", "task", "avatar_conversation")},
    "realtime_session.create": "StudioSessionOpened",
}
_OTHER = "OrganizationSettingsUpdated"  # routers, keys, …

Date = Annotated[str, Query(min_length=10, max_length=40)]
Words = Annotated[str | None, Query(max_length=5000)]


class UsageOrder(Body):
    startDate: str = option(max_length=40)
    beforeDate: str = option(max_length=40)


def add(app: FastAPI) -> None:
    if not hasattr(app.state, "ledger"):
        app.state.ledger = TaskLedger(app.state.services)
    app.get("/organization")(retrieve)
    app.post("/organization/usage")(usage)
    app.get("/organization/webapp/usage")(charges)
    app.get("/organization/webapp/audit_logs")(events)
    app.get("/organization/webapp/audit_logs/{eventId}")(event)


def _ledger(at: At) -> Ledger:
    found: Ledger = at.request.app.state.ledger
    return found


async def retrieve(at: At) -> dict[str, Any]:
    ledger, now = _ledger(at), at.now()
    catalogue: Catalogue = at.request.app.state.catalogue
    balance, limits = await ledger.balance(), ledger.limits
    recent = await ledger.entries(at.owner, now - DAY_S, now + 1)
    counts: dict[str, int] = defaultdict(int)
    for entry in recent:
        counts[entry.model] += 1 if entry.type == "charge" else -1
    models: dict[str, dict[str, int]] = {}
    for name, places in catalogue.concurrency.items():
        daily = limits.daily_generations.get(name, limits.daily_generations.get("*"))
        models[name] = {  # older clients want both
            "maxConcurrentGenerations": places,
            "maxDailyGenerations": UNLIMITED if daily is None else daily,
        }
    return {
        "creditBalance": UNLIMITED if balance is None else balance,
        "tier": {
            "maxMonthlyCreditSpend": UNLIMITED if limits.monthly_cap is None else limits.monthly_cap,
            "models": models,
        },
        "usage": {"models": {name: {"dailyGenerations": max(0, counts[name])} for name in sorted({*models, *counts})}},
    }


async def usage(at: At, body: UsageOrder | None = None) -> dict[str, Any]:
    """Credits by day, model and key. The first day is in it, the last is not."""
    sent = body.sent() if body is not None else {}
    start_s = _day(sent.get("startDate"), "startDate", at.now() - USUAL_DAYS * DAY_S)
    before_s = _day(sent.get("beforeDate"), "beforeDate", start_s + USUAL_DAYS * DAY_S)
    if before_s < start_s:
        raise invalid(["beforeDate"], "must not lie before startDate")
    if before_s - start_s > USAGE_DAYS * DAY_S:
        raise invalid(["beforeDate"], f"must lie at most {USAGE_DAYS} days after startDate", "too_big")
    found = await _ledger(at).entries(at.owner, start_s, before_s)
    days = [day_of(start_s + n * DAY_S) for n in range(int((before_s - start_s) // DAY_S))]
    by_model = _summed((day_of(e.at_s), e.model, e.credits) for e in found)
    by_key = _summed((day_of(e.at_s), e.key, e.credits) for e in found if is_uuid(e.key))
    return {
        "results": _by_day(days, by_model, "model"),
        "models": sorted({model for amounts in by_model.values() for model in amounts}),
        "apiKeys": sorted({key for amounts in by_key.values() for key in amounts}),
        "resultsByApiKey": _by_day(days, by_key, "apiKeyId"),
    }


async def charges(
    at: At,
    start: Annotated[Date, Query(alias="from")],
    end: Annotated[Date, Query(alias="to")],
    limit: Limit = 50,
    cursor: Cursor = None,
    organizationId: Words = None,
    workspaceIds: Words = None,
) -> dict[str, Any]:
    """Every charge and refund, the newest first."""
    place = after(cursor)
    from_s, until_s = moment(start, "from"), moment(end, "to", ends_day=True)
    found = await _ledger(at).entries(at.owner, from_s, until_s) if _ours(workspaceIds) else []
    rows = [entry for entry in reversed(found) if place is None or (entry.at_s, entry.task) < place]
    return page(rows, limit, _charge, lambda entry: cursor_of(entry.at_s, entry.task))


async def events(
    at: At,
    limit: Limit = 50,
    cursor: Cursor = None,
    start: Annotated[Date | None, Query(alias="from")] = None,
    end: Annotated[Date | None, Query(alias="to")] = None,
    actions: Words = None,
    actorEmails: Words = None,
    organizationId: Words = None,
    workspaceIds: Words = None,
) -> dict[str, Any]:
    """The audit log, the newest first. Keys have no email addresses, so asking for some finds nothing."""
    place = after(cursor)
    from_s = None if start is None else moment(start, "from")
    until_s = None if end is None else moment(end, "to")
    wanted = set(actions.split(",")) if actions else set()
    ours = tuple(own for own, theirs in _ACTIONS.items() if theirs in wanted)
    if actorEmails or not _ours(workspaceIds) or (wanted and not ours):
        return page([], limit, _event, lambda row: row.id)
    rows = await _ledger(at).notes(limit + 1, place, from_s, until_s, ours)
    return page(rows, limit, _event, lambda row: cursor_of(row.at_s, row.id))


async def event(eventId: str, at: At, organizationId: Words = None) -> dict[str, Any]:
    checked(eventId, _WHAT)
    try:
        row = await _ledger(at).note_of(eventId)
    except KeyError:
        raise not_found(_WHAT) from None
    return _event(row) | {
        "metadata": {"Operation": row.action},
        "resourceType": row.resource,
        "resourceId": row.resource_id,
        "clientIpAddress": row.address,
        "userAgent": row.agent,
        "requestId": None,
    }


def _day(text: str | None, field: str, usual_s: float) -> float:
    """The first instant of a day, UTC."""
    seconds = usual_s if text is None else moment(text, field)
    return seconds // DAY_S * DAY_S


def _summed(lines: Iterable[tuple[str, str, int]]) -> dict[str, dict[str, int]]:
    """day -> name -> credits, without what comes to nothing."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for day, name, credits in lines:
        found[day][name] += credits
    return {day: {name: credits for name, credits in sums.items() if credits} for day, sums in found.items()}


def _by_day(days: list[str], sums: dict[str, dict[str, int]], name: str) -> list[dict[str, Any]]:
    return [
        {"date": day, "usedCredits": [{name: key, "amount": sum_} for key, sum_ in sorted(sums.get(day, {}).items())]}
        for day in days
    ]


def _ours(workspaces: str | None) -> bool:
    return not workspaces or str(WORKSPACE["workspaceId"]) in workspaces.split(",")


def _charge(entry: Entry) -> dict[str, Any]:
    return {
        "timestamp": stamp(entry.at_s),
        "email": entry.key,  # keys have no address
        **WORKSPACE,
        "tool": entry.model,
        "credits": entry.credits,
        "type": entry.type,
    }


def _event(row: AuditRow) -> dict[str, Any]:
    return {
        "eventId": row.id,
        "timestamp": stamp(row.at_s),
        "action": _ACTIONS.get(row.action, _OTHER),
        "actorUsername": row.name or row.key,
        "actorEmail": None,
        "actorDeleted": False,
        **WORKSPACE,
    }
