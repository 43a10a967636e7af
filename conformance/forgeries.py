# SPDX-License-Identifier: Apache-2.0
"""Signed payloads made wrong in every way that has fooled somebody (rule 514).

Each takes a payload that was signed well and a body that nobody signed, and puts the second where a
careless reader takes it for the first.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Final

from lxml import etree

from oadr.codec import Element, clark
from oadr.signature import DS, DSP

_SIGNED_OBJECT: Final = clark("oadr:oadrSignedObject")
_OBJECT: Final = f"{{{DS}}}Object"
_ID: Final = clark("oadr:Id")


def unsigned(_signed: Element, forged: Element) -> Element:
    """No signature at all."""
    return forged


def exchanged(signed: Element, forged: Element) -> Element:
    """The signature of one body before another one under the same Id."""
    body, other = _body(signed), _body(forged)
    other.set(_ID, body.get(_ID, ""))
    signed.replace(body, other)
    return signed


def wrapped(signed: Element, forged: Element) -> Element:
    """The signed body is moved into the Signature, where its reference still finds it."""
    body = _body(signed)
    signed.replace(body, _body(forged))
    _found(signed, _OBJECT).append(body)
    return signed


def beside(signed: Element, forged: Element) -> Element:
    """A second oadrSignedObject before the one that is signed."""
    signed.insert(1, _body(forged))
    return signed


def behind(signed: Element, forged: Element) -> Element:
    """A second oadrSignedObject behind the one that is signed."""
    signed.append(_body(forged))
    return signed


def renewed(signed: Element, forged: Element) -> Element:
    """A fresh nonce that was not signed, under an exchanged body."""
    _found(signed, f"{{{DSP}}}nonce").text = "fresh"
    return exchanged(signed, forged)


def twice_protected(signed: Element, _forged: Element) -> Element:
    """A second ReplayProtect, which nobody signed, before the one that is."""
    own = _found(signed, f"{{{DSP}}}ReplayProtect")
    other = deepcopy(own)
    other[1].text = "fresh"
    properties = own.getparent().getparent()
    first = deepcopy(own.getparent())
    first.set("Id", "other")
    first.replace(first[0], other)
    properties.insert(0, first)
    return signed


def half_signed(signed: Element, forged: Element) -> Element:
    """The reference to the body is taken out: only the ReplayProtect is signed."""
    info = _found(signed, f"{{{DS}}}SignedInfo")
    info.remove(_found(info, f"{{{DS}}}Reference"))
    return exchanged(signed, forged)


FORGERIES: Final[tuple[Callable[[Element, Element], Element], ...]] = (
    unsigned,
    exchanged,
    wrapped,
    beside,
    behind,
    renewed,
    twice_protected,
    half_signed,
)


def forge(how: Callable[[Element, Element], Element], signed: bytes, body: bytes) -> bytes:
    """One of FORGERIES done to bytes."""
    made: bytes = etree.tostring(
        how(etree.fromstring(signed), etree.fromstring(body)),
        xml_declaration=True,
        encoding="UTF-8",
    )
    return made


def _body(root: Element) -> Element:
    return _found(root, _SIGNED_OBJECT)


def _found(root: Element, tag: str) -> Element:
    return next(root.iter(tag))
