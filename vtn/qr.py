# SPDX-License-Identifier: Apache-2.0
"""QR codes as inline SVG."""

import io

import segno


def qr_svg(text: str) -> str:
    """A code that fills whatever size it is given (no width, no height), without styles."""
    out = io.BytesIO()
    segno.make(text, error="m").save(out, kind="svg", xmldecl=False, omitsize=True)
    return out.getvalue().decode()
