"""JSON as strictly as RFC 8259 and I-JSON (RFC 7493) allow it, for bodies that strangers send.

`APIRouter(route_class=StrictRoute)`: a repeated key, NaN, a lone surrogate, bytes that are not UTF-8, a number of
thousands of digits or thousands of brackets are a 400, rather than something that two readers understand differently.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, NoReturn

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from recsys.errors import BadInput


def loads(body: bytes) -> Any:
    """A JSON text as Python values.

    Raises:
        BadInput: it is not one, or one that not every reader would understand alike.
    """
    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails on a lone surrogate
    except RecursionError:
        raise BadInput("not usable JSON: nested too deeply") from None
    except UnicodeError:
        raise BadInput("not usable JSON: not valid Unicode") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"not usable JSON: {error.msg} at character {error.pos}") from None
    except ValueError as error:
        raise BadInput(f"not usable JSON: {str(error)[:100]}") from None
    return value


class StrictRequest(Request):
    """A request whose JSON body is read by `loads`."""

    async def json(self) -> Any:
        try:
            return loads(await self.body())
        except BadInput as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None


class StrictRoute(APIRoute):
    """A route that reads its body by `loads`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")
