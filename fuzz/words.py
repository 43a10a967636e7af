# SPDX-License-Identifier: Apache-2.0
"""The names of the targets, and the words each of them knows, for the mutator to put together."""

from typing import Final

from oadr.codec import NAMESPACES
from oadr.messages import NAME_OF

TARGETS: Final = ("parse", "signature", "gateway", "front", "ems", "local", "settings")

_XML: Final = (
    *(f"<{prefix}:" for prefix in NAMESPACES),
    *(f"</{prefix}:" for prefix in NAMESPACES),
    *(name.partition(":")[2] for name in NAME_OF.values()),
    *("venID", "registrationID", "requestID", "reportRequestID", "rID", "eventID", "optID"),
    *("modificationNumber", "vtnID", "duration", "PT5M", "P1M", "-PT0S", "PT99999999999S"),
    *("2030-01-09T14:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1e308", "NaN"),
    *("INF", "-0", "optIn", "optOut", "registered", "let-in", "stranger", "id-1", "id-2", "&#0;"),
    *(
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<!DOCTYPE",
        "<!ENTITY",
        "<?xml",
        "xmlns=",
        "schemaVersion",
    ),
)
_JSON: Final = (
    *('{"type":', '"n":', '"schema":', "[[[[[[[[", "{{{{", "1e999", "-1", "null", "true", "NaN"),
    *("18446744073709551616", "2030-01-09T14:00:00Z", "9999-12-31T23:59:59.999999Z", "\\\\ud800"),
    *("PutPlan", "GetReadings", "GetSpan", "GetCurtailment", "Watch", "SetOverride", "GetStatus"),
)
_TOML: Final = (
    *("[vtn]", "[openadr]", "[operator]", "[store]", "[site]", "[[meter]]", "[ring]", "[guard]"),
    *("= true", "= -1", "= 1e400", "= inf", "= nan", "= 99999999999999999999", '= ""', "= []"),
    *("= 2030-01-09", "[a.b.c]", '"""', "'''", "\\\\u0000", "port", "path", "timezone", "url"),
)


def words_of(target: str) -> tuple[str, ...]:
    """Words as libFuzzer's dictionary wants them within its quotes."""
    known = {"settings": _TOML, "ems": _JSON, "local": _JSON, "front": ("%20", "%0A", ":", "-----")}
    return tuple(word.replace('"', '\\"') for word in known.get(target, _XML))
