# SPDX-License-Identifier: Apache-2.0
"""/api: the API's description as a page for people, made of the same declarations."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.datastructures import State

from vtn.accounts import Act

_METHODS = ("get", "post", "put", "patch", "delete")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}
Schema = Mapping[str, Any]


@get("/api", act=Act.OPEN, include_in_schema=False)
async def show_page(request: Request[Any, Any, State]) -> Response[str]:
    """Every operation and every value, in one page without a script."""
    schema = request.app.openapi_schema.to_schema()
    return Response("\n".join(page(schema)), media_type=MediaType.HTML, headers=_HEADERS)


def page(schema: Schema) -> Iterator[str]:
    """The lines of the page."""
    title = escape(schema["info"]["title"])
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield f"<title>{title}</title></head>"
    yield f"<body><main><h1>{title}</h1>"
    yield '<p>The same for programs: <a href="/openapi.json">/openapi.json</a>.</p>'
    yield "<h2>Operations</h2>"
    for path, item in schema["paths"].items():
        for method in _METHODS:
            if method in item:
                yield from _operation(path, method, item[method])
    yield "<h2>Values</h2>"
    for name, one in sorted(schema["components"]["schemas"].items()):
        yield from _value(name, one)
    yield "</main></body></html>"


def _operation(path: str, method: str, one: Schema) -> Iterator[str]:
    yield f"<section><h3>{method.upper()} <code>{escape(path)}</code></h3>"
    yield f"<p>{escape(one.get('description') or one.get('summary', ''))}</p>"
    rows = [
        (
            f"{each['name']} ({each['in']})",
            _kind(each.get("schema", {})),
            "wanted" if each.get("required") else "",
        )
        for each in one.get("parameters", ())
    ]
    rows += [("body", _body(one["requestBody"]), "wanted")] if "requestBody" in one else []
    rows += [
        (f"answer {status}", _body(answer), escape(answer.get("description", "")))
        for status, answer in one.get("responses", {}).items()
    ]
    yield from _table(rows)
    yield "</section>"


def _value(name: str, one: Schema) -> Iterator[str]:
    yield f'<section id="{escape(name)}"><h3>{escape(name)}</h3>'
    yield f"<p>{escape(one.get('description', ''))}</p>"
    wanted = one.get("required", ())
    yield from _table(
        [
            (key, _kind(kind), "wanted" if key in wanted else "")
            for key, kind in one.get("properties", {}).items()
        ]
        or [("one of", ", ".join(escape(str(each)) for each in one.get("enum", ())), "")]
    )
    yield "</section>"


def _table(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    """The second and third of each row are HTML already."""
    yield "<table>"
    for head, kind, remark in rows:
        yield f'<tr><th scope="row">{escape(head)}</th><td>{kind}</td><td>{remark}</td></tr>'
    yield "</table>"


def _body(said: Schema) -> str:
    return ", ".join(_kind(each.get("schema", {})) for each in said.get("content", {}).values())


def _kind(kind: Schema) -> str:
    """A schema in a few words, as HTML."""
    if "$ref" in kind:
        name = escape(kind["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for several in ("oneOf", "anyOf", "allOf"):
        if several in kind:
            return " or ".join(_kind(each) for each in kind[several])
    if kind.get("type") == "array":
        return f"list of {_kind(kind.get('items', {}))}"
    found = kind.get("type", "anything")
    words = " or ".join(found) if isinstance(found, list) else str(found)
    return escape(" ".join(filter(None, (words, kind.get("format")))))
