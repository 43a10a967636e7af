# SPDX-License-Identifier: Apache-2.0
"""Messages: the conversation with VENs, what went wrong first, and each message as it came."""

import re
from typing import Final

from litestar import Response, get
from litestar.params import FromPath
from litestar.response import Template

from vtn.accounts import Act
from vtn.console import words
from vtn.console.asked import Asked
from vtn.console.forms import Form
from vtn.console.shell import AnyRequest, Shell, ShellHere
from vtn.desk import Desk
from vtn.operations.needs import DeskHere
from vtn.store.conversation import Said

_SIZE: Final = 50
_WRONG: Final = 10
STRANGERS: Final = "strangers"


@get("/messages", act=Act.MESSAGES)
async def list_messages(request: AnyRequest, shell: ShellHere, desk: DeskHere) -> Template:
    """Of everybody, strangers too."""
    asked = Asked(request)
    ven_id = "" if asked.text("who") == STRANGERS else None
    return await _page(asked, shell, desk, ven_id, "everybody" if ven_id is None else "strangers")


@get("/messages/{ven_id:str}", act=Act.MESSAGES)
async def with_node(
    ven_id: FromPath[str], request: AnyRequest, shell: ShellHere, desk: DeskHere
) -> Template:
    node = desk.node(ven_id)
    return await _page(Asked(request), shell, desk, ven_id, node.ven.name or ven_id)


async def _page(asked: Asked, shell: Shell, desk: Desk, ven_id: str | None, name: str) -> Template:
    search, only_wrong = asked.text("q"), asked.text("only") == "wrong"
    before = asked.number("before", 0) or None
    found = await desk.conversation(
        ven_id=ven_id, search=search, wrong=only_wrong, before=before, limit=_SIZE + 1
    )
    first_wrong: list[Said] = []
    if before is None and not only_wrong:
        first_wrong = await desk.conversation(
            ven_id=ven_id, search=search, wrong=True, limit=_WRONG
        )
    shown = found[:_SIZE]
    return shell.page(
        "messages/list.html",
        title=f"Messages: {name}",
        here="messages",
        first=sentence(name, shown, first_wrong if not only_wrong else shown, desk.message_hours),
        form=Form(asked.values()),
        ven_id=ven_id,
        wrong=first_wrong,
        found=shown,
        hours=desk.message_hours,
        topic=f"node:{ven_id}" if ven_id else "nodes",
        after=asked.address(before=shown[-1].number) if len(found) > _SIZE else "",
        newest=asked.address(before="") if before is not None else "",
    )


def sentence(name: str, found: list[Said], wrong: list[Said], hours: int) -> str:
    """The first line of the page."""
    if not hours:
        return "Messages are not kept here"
    if wrong:
        last = wrong[0]
        who = f"{last.request_kind or 'What was no XML'} of {last.ven_id or 'a stranger'}"
        why = f": {last.said}" if last.said else f", by {last.code}"
        return f"Refused last: {who}{why}"[:300]
    if not found:
        return f"With {name} nothing was said but idle polls in {words.several(hours, 'hour')}"
    return f"Nothing of {name} was refused in {words.several(hours, 'hour')}"


@get("/message/{number:int}", act=Act.MESSAGES)
async def show_message(number: FromPath[int], shell: ShellHere, desk: DeskHere) -> Template:
    found = await desk.said(number)
    who = found.ven_id or "a stranger"
    return shell.page(
        "messages/one.html",
        title=f"Message {number}",
        here="messages",
        first=f"{found.request_kind or 'What'} {who} {'was sent' if found.pushed else 'sent'}"
        + (f", answered by {found.code}" if found.wrong else ""),
        one=found,
        sent=pretty(found.request),
        answered=pretty(found.reply),
    )


@get("/message/{number:int}/{side:str}", act=Act.MESSAGES)
async def raw(number: FromPath[int], side: FromPath[str], desk: DeskHere) -> Response[bytes]:
    """One of the two as it went over the wire, to be saved."""
    found = await desk.said(number)
    return Response(
        found.reply if side == "reply" else found.request,
        media_type="application/xml",
        headers={"Content-Disposition": f'attachment; filename="{number}-{side}.xml"'},
    )


_TOKEN: Final = re.compile(r"<!--.*?-->|<[^<>]*>|<?[^<]+|<", re.DOTALL)
_MOST_LINES: Final = 5000


def pretty(body: bytes) -> str:
    """XML by lines and depth, whatever it is: nothing of it is parsed, resolved or left out."""
    lines: list[str] = []
    depth = 0
    tokens = [one.strip() for one in _TOKEN.findall(body.decode("utf-8", errors="replace"))]
    tokens = [one for one in tokens if one]
    place = 0
    while place < len(tokens) and len(lines) < _MOST_LINES:
        token = tokens[place]
        following = tokens[place + 1 : place + 3]
        if token.startswith("</"):
            depth = max(0, depth - 1)
            lines.append("  " * depth + token)
        elif not token.startswith("<") or token.startswith(("<?", "<!")) or token.endswith("/>"):
            lines.append("  " * depth + token)
        elif len(following) == 2 and not following[0].startswith("<"):
            lines.append("  " * depth + token + "".join(following))
            place += 2
        elif following and following[0].startswith("</"):
            lines.append("  " * depth + token + following[0])
            place += 1
        else:
            lines.append("  " * depth + token)
            depth += 1
        place += 1
    if place < len(tokens):
        lines.append("… (the rest is in the file)")
    return "\n".join(lines)


handlers = [list_messages, with_node, show_message, raw]
