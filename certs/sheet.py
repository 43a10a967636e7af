# SPDX-License-Identifier: Apache-2.0
"""The installer's sheet: a one-time code in words and as QR, on the terminal or to print."""

import html
import io
import sys
from datetime import datetime
from pathlib import Path

import msgspec

from certs.errors import CodeRefused
from doorway import show
from doorway.invitation import Invitation

KINDS = (".html", ".svg")
"""What a sheet's file may end in."""
_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}: enrolment</title><style>
body {{ font: 14pt sans-serif; margin: 2cm auto; max-width: 17cm; color: #111 }}
svg {{ width: 9cm; height: 9cm; display: block; margin: 0.6cm auto }}
code {{ font: 12pt monospace; overflow-wrap: anywhere }}
td {{ padding: 0.15cm 0.6cm 0.15cm 0; vertical-align: top }}
</style></head><body>
<h1>{name}</h1>
<p>Enrols one device, once, until <b>{until}</b>. Who has this sheet can be this site: hand it to
the installer alone, and destroy it afterwards.</p>
{qr}
<table>
<tr><td>on the device</td><td><code>ven enroll '{text}'</code></td></tr>
<tr><td>or typed</td><td><code>ven enroll {url} --code {code} --root {root}</code></td></tr>
<tr><td>code</td><td><code>{code}</code></td></tr>
<tr><td>root, SHA-256</td><td><code>{root}</code></td></tr>
</table></body></html>
"""


class MadeCode(msgspec.Struct, frozen=True, kw_only=True):
    """A code that was just made: the only time that it is told."""

    code_id: str
    """Its first signs: no secret."""
    ven_id: str
    name: str
    code: str
    url: str
    """Of the VTN's enrolment listener."""
    root: str
    """SHA-256 of the authority that the VTN's own certificate is from."""
    invitation: str
    """All of it as one text: what the QR holds."""
    expires_at: datetime


def made_code(invitation: Invitation, *, ven_id: str, name: str, expires_at: datetime) -> MadeCode:
    return MadeCode(
        code_id=invitation.code.name,
        ven_id=ven_id,
        name=name,
        code=str(invitation.code),
        url=invitation.url,
        root=invitation.root,
        invitation=str(invitation),
        expires_at=expires_at,
    )


def hand_over(made: MadeCode) -> None:
    """Print the code, on a terminal with its QR."""
    show(f"code for {made.ven_id}, good once, until {made.expires_at:%Y-%m-%d %H:%M} UTC:")
    show("")
    show(f"  ven enroll '{made.invitation}'")
    show("")
    show(f"  address  {made.url}")
    show(f"  code     {made.code}")
    show(f"  root     {made.root}")
    if sys.stdout.isatty():
        show(qr_for_terminal(made))


def qr_for_terminal(made: MadeCode) -> str:
    """The QR in half blocks, as a terminal shows it."""
    import segno  # noqa: PLC0415 - waits for its use: no other command needs it

    out = io.StringIO()
    segno.make_qr(made.invitation).terminal(out, compact=True)
    return out.getvalue()


def write_sheet(made: MadeCode, file: Path) -> None:
    """An .html page to print, or the QR alone as .svg; mode 0600. Raises CodeRefused."""
    import segno  # noqa: PLC0415 - waits for its use: no other command needs it

    code = segno.make_qr(made.invitation)
    if file.suffix == ".svg":
        out = io.BytesIO()
        code.save(out, kind="svg", scale=8)
        content = out.getvalue()
    elif file.suffix == ".html":
        content = _PAGE.format(
            name=html.escape(made.name),
            until=f"{made.expires_at:%Y-%m-%d %H:%M} UTC",
            qr=code.svg_inline(omitsize=True),
            text=html.escape(made.invitation),
            url=html.escape(made.url),
            code=made.code,
            root=made.root,
        ).encode()
    else:
        raise CodeRefused(f"{file}: a sheet is written as .html or .svg; name it so.")
    try:
        file.touch(mode=0o600)
        file.write_bytes(content)
    except OSError as error:
        raise CodeRefused(f"{file}: the sheet cannot be written ({error.strerror}).") from error
