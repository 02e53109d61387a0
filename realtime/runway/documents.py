"""Documents: what avatars know. A PATCH answers 204; lists leave the content out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Response
from pydantic import Field

from ..store import library
from ..store.library import Avatar, Document
from .bodies import Body, option
from .desk import At, Desk, checked, new_id
from .errors import invalid
from .links import link
from .lists import Cursor, Limit, after
from .pages import cursor_of, page, stamp

KNOWLEDGE_TOKENS = 50_000  # of all documents of one avatar
_WHAT = "A document with this id"
Name = Annotated[str, Field(min_length=1, max_length=255)]
Content = Annotated[str, Field(min_length=1, max_length=200_000)]


class NewDocument(Body):
    name: Name
    content: Content


class DocumentChange(Body):
    name: Name = option()
    content: Content = option()


def tokens_of(content: str) -> int:
    """About how many tokens of a language model a text is: one for four characters, so the longest document that is
    taken fills the whole budget."""
    return -(-len(content) // 4)


def add(app: FastAPI) -> None:
    app.post("/documents")(create)
    app.get("/documents")(listed)
    app.get("/documents/{id}")(retrieve)
    app.patch("/documents/{id}", status_code=204, response_class=Response)(update)
    app.delete("/documents/{id}", status_code=204, response_class=Response)(delete)


async def create(body: NewDocument, at: At) -> dict[str, Any]:
    now = at.now()
    document = Document(new_id(), at.owner, now, now, body.name, body.content)
    await at.write(lambda c: library.documents.put(c, document))
    await at.note("document.create", "document", document.id)
    return _shown(at, document, []) | {"content": document.content}


async def listed(
    at: At,
    limit: Limit = 50,
    cursor: Cursor = None,
    sort: Literal["createdAt", "updatedAt"] = "createdAt",
    order: Literal["asc", "desc"] = "desc",
) -> dict[str, Any]:
    place, by = after(cursor), "created_s" if sort == "createdAt" else "updated_s"

    def work(connection: Any) -> list[tuple[Document, list[Avatar]]]:
        rows = library.documents.listed(connection, at.owner, limit + 1, place, by, order == "desc")
        users = library.users(connection, at.owner)
        return [(d, users.get(d.id, [])) for d in rows]

    rows = await at.read(work)
    return page(rows, limit, lambda row: _shown(at, *row), lambda row: cursor_of(getattr(row[0], by), row[0].id))


async def retrieve(id: str, at: At) -> dict[str, Any]:
    checked(id, _WHAT)

    def work(connection: Any) -> tuple[Document, list[Avatar]]:
        document = library.documents.get(connection, at.owner, id)
        return document, library.users(connection, at.owner).get(id, [])

    document, users = await at.read(work, _WHAT)
    return _shown(at, document, users) | {"content": document.content}


async def update(id: str, body: DocumentChange, at: At) -> None:
    checked(id, _WHAT)
    change = body.model_dump(exclude_unset=True)

    def work(connection: Any) -> None:
        library.documents.change(connection, at.owner, id, **change, updated_s=at.now())
        if "content" in change:
            for avatar in library.users(connection, at.owner).get(id, []):
                within_budget(connection, at.owner, avatar.documents, ["content"])

    await at.write(work, _WHAT)
    await at.note("document.update", "document", id)


async def delete(id: str, at: At) -> None:
    checked(id, _WHAT)

    def work(connection: Any) -> None:
        for avatar in library.users(connection, at.owner).get(id, []):
            left = [known for known in avatar.documents if known != id]
            library.avatars.change(connection, at.owner, avatar.id, documents=left)
        library.documents.remove(connection, at.owner, id)

    await at.write(work, _WHAT)
    await at.note("document.delete", "document", id)


def within_budget(connection: Any, owner: str, ids: list[str], path: list[str | int]) -> None:
    """Raises a 400 about `path` where one of these documents is not there, or they are too much for one avatar."""
    tokens = 0
    for index, id in enumerate(ids):
        try:
            tokens += tokens_of(library.documents.get(connection, owner, id).content)
        except KeyError:
            raise invalid([*path, index], f"There is no document {id[:60]!a}.") from None
    if tokens > KNOWLEDGE_TOKENS:
        message = f"An avatar can know {KNOWLEDGE_TOKENS} tokens; its documents would come to about {tokens}."
        raise invalid(path, message, "too_big")


def _shown(at: Desk, document: Document, users: list[Avatar]) -> dict[str, Any]:
    return {
        "id": document.id,
        "name": document.name,
        "type": "text",
        "usedBy": [{"id": a.id, "name": a.name, "imageUrl": link(at, a.portrait or a.reference)} for a in users],
        "createdAt": stamp(document.created_s),
        "updatedAt": stamp(document.updated_s),
    }
