"""A result that the database will not take, kept from holding up the others.

A database that is away comes back, so what failed is tried again. One that refuses a row refuses it
every time: the batch is halved until the refused results stand alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from flowkick.delivery.queue import Result

_NOT_KEPT: Final = "The receiver's answer could not be stored."
# Of SQLSTATE: cardinality, data, and integrity are violated; limits of the program; PL/pgSQL.
_REFUSING: Final = frozenset({"21", "22", "23", "54", "P0"})


def is_refusal(error: Exception) -> bool:
    """Whether trying again is in vain: what was to be written is at fault, not the database."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return False
        if isinstance(error, DataError | IntegrityError):
            return True
        state = getattr(error.orig, "sqlstate", None)
        # The driver's own refusals, such as of a number too large, have no SQLSTATE.
        causes = (error.orig, getattr(error.orig, "__cause__", None))
        refused_by_driver = any(isinstance(cause, ValueError) for cause in causes)
        return state[:2] in _REFUSING if state else refused_by_driver
    return not isinstance(error, SQLAlchemyError | OSError)


async def record_apart(
    results: Sequence[Result],
    record: Callable[[Sequence[Result]], Awaitable[None]],
    set_aside: Callable[[Result, Exception], Awaitable[None]],
) -> None:
    """Record all results, in as few batches as there can be; refused ones are set aside."""
    try:
        await record(results)
    except Exception as error:
        if not is_refusal(error):
            raise
        if len(results) == 1:
            await set_aside(results[0], error)
            return
    else:
        return
    middle = len(results) // 2
    for half in (results[:middle], results[middle:]):
        await record_apart(half, record, set_aside)


def without_answer(result: Result) -> Result:
    """The same result without anything that a receiver could have spoilt."""
    outcome = result.outcome
    said = None if outcome.success else _NOT_KEPT
    return result._replace(outcome=outcome._replace(response_body=None, error_message=said))
