# SPDX-License-Identifier: Apache-2.0
"""Refusals as problem+json (RFC 9457): the status, and one sentence in `detail`."""

import difflib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException, SerializationException, ValidationException
from litestar.typing import FieldDefinition

from doorway import explain, get_logger
from vtn.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotSeen,
    Stale,
    StoreUnavailable,
    TooOften,
    Unauthorised,
    Unknown,
    VtnError,
)

log = get_logger()

AnyRequest = Request[Any, Any, State]

_STATUS: tuple[tuple[type[VtnError], HTTPStatus], ...] = (
    (Unknown, HTTPStatus.NOT_FOUND),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (Stale, HTTPStatus.PRECONDITION_FAILED),
    (NotSeen, HTTPStatus.PRECONDITION_REQUIRED),
    (Conflict, HTTPStatus.CONFLICT),
    (TooOften, HTTPStatus.TOO_MANY_REQUESTS),
    (Unauthorised, HTTPStatus.UNAUTHORIZED),
    (Invalid, HTTPStatus.UNPROCESSABLE_ENTITY),
    (StoreUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the body of every answer that refuses."""

    title: str
    status: int
    detail: str
    """One sentence: what is wrong and what to do."""
    type: str = "about:blank"


def problem(status: HTTPStatus, sentence: str) -> Response[Problem]:
    headers = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else {}
    return Response(
        Problem(title=status.phrase, status=status, detail=sentence),
        status_code=status,
        media_type="application/problem+json",
        headers=headers,
    )


def refused(_request: AnyRequest, fault: VtnError) -> Response[Problem]:
    """A refusal by the VTN itself."""
    status = next((code for kind, code in _STATUS if isinstance(fault, kind)), None)
    return problem(status or HTTPStatus.UNPROCESSABLE_ENTITY, str(fault))


def unfit(request: AnyRequest, fault: HTTPException) -> Response[Problem]:
    """A request that does not fit the API: path, method, query, body."""
    status = HTTPStatus(fault.status_code)
    if status is HTTPStatus.NOT_FOUND:
        return problem(status, f"There is nothing at {request.url.path}; see /openapi.json.")
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        return problem(
            status, f"{request.method} is not possible at {request.url.path}; see /openapi.json."
        )
    if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return problem(status, "The body is too large.")
    if isinstance(fault, ValidationException):
        return problem(status, sentence(request, fault))
    if isinstance(fault.__cause__, SerializationException) or "JSON" in fault.detail:
        return problem(status, f"The body is not JSON: {fault.detail.removesuffix('.')}.")
    return problem(status, f"{fault.detail.removesuffix('.')}.")


def too_deep(_request: AnyRequest, _fault: RecursionError) -> Response[Problem]:
    """JSON nested beyond what anybody means."""
    return problem(HTTPStatus.BAD_REQUEST, "The body is nested too deeply.")


def broken(request: AnyRequest, fault: Exception) -> Response[Problem]:
    """A mistake of ours; what exactly is for the log."""
    log.error("operator request failed", path=request.url.path, exc_info=fault)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The VTN made a mistake; its log says more.")


Refusal = Callable[[AnyRequest, Any], Response[Any]]
Refusals = Mapping[int | type[Exception], Refusal]

REFUSALS: Final[Refusals] = {
    VtnError: refused,
    HTTPException: unfit,
    RecursionError: too_deep,
    Exception: broken,
}


def by_asker(pages: Refusals, *, otherwise_page: bool) -> dict[int | type[Exception], Refusal]:
    """REFUSALS for programs, `pages` for browsers; below /api/ everybody is a program.

    Browsers say that they take HTML, programs that they take JSON; `otherwise_page` is for who says
    neither.
    """

    def is_browser(request: AnyRequest) -> bool:
        taken = request.headers.get("accept", "")
        if request.url.path.startswith("/api/"):
            return False
        return "text/html" in taken or ("json" not in taken and otherwise_page)

    def chosen(kind: int | type[Exception], page: Refusal) -> Refusal:
        kinds = kind.__mro__ if isinstance(kind, type) else ()
        problem = next(REFUSALS[one] for one in kinds if one in REFUSALS)
        return lambda request, fault: (page if is_browser(request) else problem)(request, fault)

    return {**REFUSALS, **{kind: chosen(kind, page) for kind, page in pages.items()}}


def sentence(request: AnyRequest, fault: ValidationException) -> str:
    """What is wrong with a query or a body, and where."""
    body = _body(request)
    cause = str(fault.__cause__ or fault.detail)
    if body is not None and any(extra.get("source") == "body" for extra in _extras(fault)):
        if "missing required field `data`" in cause:
            return "The body is missing; send JSON."
        said = explain(
            cause.replace("`$.data.", "`$.").replace("`$.data`", "`$`"), body, noun="key"
        )
        return f"{said[:1].upper()}{said[1:]}"
    for extra in _extras(fault):
        key = str(extra.get("key", "")).removesuffix("_")
        said = str(extra.get("message", "")).replace("`", "'")
        return f"{key}: {said}."
    return f"{fault.detail.partition(' for ')[0]}."


def _extras(fault: ValidationException) -> list[dict[str, Any]]:
    return fault.extra if isinstance(fault.extra, list) else []


def _body(request: AnyRequest) -> type[msgspec.Struct] | None:
    """The Struct that the body of this request should have been."""
    handler = request.scope.get("route_handler")
    field = getattr(handler, "parsed_data_field", None)
    kind: object = field.annotation if isinstance(field, FieldDefinition) else None
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


async def known_queries_only(request: AnyRequest) -> None:
    """A before-request hook: a misspelt query would otherwise be an answer to another question."""
    parameters = request.route_handler.parsed_fn_signature.parameters
    known = {
        getattr(field.kwarg_definition, "name", None) or name for name, field in parameters.items()
    }
    for key in request.query_params:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise Invalid(f"There is no query '{key}' here{hint}")
