# SPDX-License-Identifier: Apache-2.0
"""The standard's XSD, found inside the installed openleadr distribution without importing it.

The schema files may not be copied into this tree; the distribution that carries them is pinned.
"""

import functools
import importlib.util
from pathlib import Path

from lxml import etree

from oadr.codec import Element
from oadr.errors import SchemaInvalid

_ROOT_FILE = "schema/oadr_20b.xsd"


def schema_file() -> Path:
    """Where the root of the OpenADR 2.0b schema lies on this machine.

    Raises FileNotFoundError with the command to type where openleadr is not installed.
    """
    found = importlib.util.find_spec("openleadr")
    for folder in found.submodule_search_locations or () if found is not None else ():
        if (file := Path(folder, _ROOT_FILE)).is_file():
            return file
    raise FileNotFoundError("the OpenADR schema is not here: pip install openleadr==0.5.36")


@functools.cache
def _schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(schema_file())))


def validate(root: Element) -> None:
    """Raise SchemaInvalid, with the first fault and its line, unless the tree is a 2.0b payload."""
    schema = _schema()
    if not schema.validate(root):
        fault = next(iter(schema.error_log), None)
        where = f" (line {fault.line})" if fault is not None else ""
        what = fault.message if fault is not None else "it is not an OpenADR 2.0b payload"
        for uri in _LONG:
            what = what.replace(uri, "")
        if len(what) > _LONGEST:  # it quotes what it does not like
            what = f"{what[:_LONGEST]} ..."
        raise SchemaInvalid(f"The payload is not valid by the OpenADR 2.0b schema: {what}{where}")


_LONGEST = 500
"""Characters of a fault that are told."""
_LONG = (
    "{http://openadr.org/oadr-2.0b/2012/07}",
    "{http://docs.oasis-open.org/ns/energyinterop/201110}",
    "{http://docs.oasis-open.org/ns/energyinterop/201110/payloads}",
    "{urn:ietf:params:xml:ns:icalendar-2.0}",
    "{urn:ietf:params:xml:ns:icalendar-2.0:stream}",
)
