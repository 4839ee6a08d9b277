"""The route of the feed: events to be fetched, by those whom none can be sent to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import StringConstraints

from flowkick.core import metrics
from flowkick.core.errors import InvalidInput
from flowkick.core.schemas import CursorPagination, Success, shown_as
from flowkick.http.context import Caller, Context, InContext
from flowkick.http.route import ApiRoute, policy
from flowkick.webhooks import feed
from flowkick.webhooks.catalogue import ALL, CATALOGUE, check_patterns, expand
from flowkick.webhooks.feed import Page, Place

router = APIRouter(prefix="/api/admin", tags=["events"], route_class=ApiRoute)

MAX_LIMIT: Final = 1000
MAX_WAIT: Final = 30
_MAX_TYPES: Final = 100
_AGAIN_SECONDS: Final = 0.05
"""A page that was empty is not looked for again before: rings come thousands a second."""
_SOON_SECONDS: Final = 0.1
"""How often it is looked whether events may be given that another transaction holds back."""
_NET_SECONDS: Final = 2.0
"""How often it is looked without any ring."""


class FeedAnswer(Success):
    """Events as they are pushed, byte for byte, and where to go on."""

    model_config = shown_as(
        success=True,
        events=[CATALOGUE["user.created"].example()],
        removed=0,
        pagination={
            "limit": 100,
            "hasMore": False,
            "nextCursor": "f1.WzE3NjI0MjUwMDAwMDEsIiIsMTc2MjQyNTAwMDAwMF0",
        },
    )

    events: list[dict[str, Any]]
    removed: int
    pagination: CursorPagination


_ERROR: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}


@router.get(
    "/events",
    operation_id="readFeed",
    response_model=FeedAnswer,
    responses={
        410: {"description": "What follows the cursor is not kept any longer.", "content": _ERROR},
        429: {"description": "Too many requests are waiting already.", "content": _ERROR},
    },
)
@policy(transaction=False)
async def read_feed(  # noqa: PLR0917  # most are query parameters
    request: Request,
    caller: Caller,
    context: InContext,
    after: Annotated[
        str | None,
        StringConstraints(max_length=300),
        Query(description="What `nextCursor` gave; `now` begins with what comes."),
    ] = None,
    types: Annotated[
        list[Annotated[str, StringConstraints(max_length=2000)]] | None,
        Query(
            max_length=_MAX_TYPES,
            description="Names, groups such as `user.*`, or `*`; repeated, or joined by commas.",
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Events of a page.")] = 100,
    wait: Annotated[
        int, Query(ge=0, le=MAX_WAIT, description="Seconds to wait where there are none yet.")
    ] = 0,
) -> Any:
    """Recorded events in an order that never changes behind a cursor; waits where asked to."""
    names = _names(types)
    place = None if after is None or after == feed.NOW else Place.decode(after)
    looker = _Looker(context, caller.admin_id, place, names, limit)
    page = await looker.look(to_end=after == feed.NOW)
    if wait and not page.bodies and not page.has_more and not page.removed:
        page = await looker.wait(request, page, wait)
    metrics.FEED_EVENTS.inc(len(page.bodies))
    return Response(_encode(page, limit), media_type="application/json")


def _names(types: Sequence[str] | None) -> Sequence[str] | None:
    """The names of the events that are asked for; None for what ``*`` stands for."""
    if types is None:
        return None
    try:
        patterns = check_patterns(name.strip() for given in types for name in given.split(","))
    except ValueError as error:
        details = [{"field": "types", "problem": str(error)}]
        raise InvalidInput(f"types: {error}.", details=details) from None
    names = expand(patterns)
    return None if names == expand([ALL]) else sorted(names)


class _Looker:
    """Looks for a page, now and again; holds no connection in between."""

    def __init__(
        self,
        context: Context,
        admin_id: str,
        place: Place | None,
        names: Sequence[str] | None,
        limit: int,
    ) -> None:
        self._context = context
        self._admin_id = admin_id
        self._place = place
        self._names = names
        self._limit = limit

    async def look(self, *, to_end: bool = False) -> Page:
        async with self._context.database.reading(self._admin_id) as session:
            if to_end:
                return await feed.end_of_feed(session, now=self._context.clock())
            return await feed.read_page(
                session,
                self._place,
                names=self._names,
                limit=self._limit,
                now=self._context.clock(),
                kept_for=timedelta(days=self._context.settings.retention_days),
            )

    async def wait(self, request: Request, page: Page, seconds: int) -> Page:
        """The first page that is not empty, or an empty one when the time is over."""
        bell = self._context.doorbell
        ends = time.monotonic() + seconds
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            with bell.waiting(self._admin_id), metrics.FEED_WAITING.track_inprogress():
                while True:
                    ring = bell.next_ring()
                    self._place = page.next
                    page = await self.look()
                    left = ends - time.monotonic()
                    if page.bodies or page.has_more or page.removed:
                        return page
                    if left <= 0 or bell.closed or gone.done():
                        return page
                    pause = _SOON_SECONDS if page.coming else _NET_SECONDS
                    looked = time.monotonic()
                    await bell.rung(ring, min(pause, left), gone)
                    await asyncio.sleep(looked + _AGAIN_SECONDS - time.monotonic())
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone


async def _disconnected(request: Request) -> None:
    """Ends when the client has gone away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _encode(page: Page, limit: int) -> bytes:
    """The answer, with the bodies in it as they are: nothing reads and writes them anew."""
    pagination = {"limit": limit, "hasMore": page.has_more, "nextCursor": page.next.encode()}
    return b'{"success":true,"events":[%b],"removed":%d,"pagination":%b}' % (
        b",".join(page.bodies),
        page.removed,
        msgspec.json.encode(pagination),
    )
