# SPDX-License-Identifier: Apache-2.0
"""Where the site's broker is and how it is spoken to: settings, address, TLS."""

import ssl
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from ems_bridge.errors import BrokerUnusable


class BrokerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [broker] table. TLS is spoken as soon as `ca`, `cert` or `tls` is set."""

    host: str
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    tls: bool = False
    """TLS with the system's authorities, where no `ca` is named."""
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    username: str = ""
    password_file: Path | None = None
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    keepalive_s: Annotated[int, Meta(ge=2, le=3600)] = 15

    @property
    def secured(self) -> bool:
        return self.tls or self.ca is not None or self.cert is not None

    @property
    def address(self) -> str:
        # An IPv6 literal is bracketed, or its own colons read as the port separator.
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.secured else 'mqtt'}://{host}:{self.port}"


def broker_at(
    url: str,
    *,
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    username: str = "",
    password_file: Path | None = None,
    protocol: Literal["3.1.1", "5"] = "3.1.1",
) -> BrokerSettings:
    """The settings behind mqtt://host:port or mqtts://host:port. Raises BrokerUnusable."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BrokerUnusable(f"the broker address {url!r} cannot be read: {error}.") from error
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
        raise BrokerUnusable(
            f"the broker address {url!r} is not understood; "
            "write mqtt://host:1883, or mqtts://host:8883 for TLS."
        )
    if parts.password:
        raise BrokerUnusable(
            "a password in the broker's address is seen by everybody on this machine; "
            "put it in a file and name that as the password file."
        )
    tls = parts.scheme == "mqtts"
    if (ca or cert) and not tls:
        raise BrokerUnusable(f"certificates are given but {url!r} is plain; write mqtts://.")
    return BrokerSettings(
        host=parts.hostname,
        port=port or (8883 if tls else 1883),
        tls=tls,
        ca=ca,
        cert=cert,
        key=key,
        username=username or parts.username or "",
        password_file=password_file,
        protocol=protocol,
    )


def tls_context(broker: BrokerSettings) -> "ssl.SSLContext | None":  # as text: OpenSSL may wait
    """The TLS context of these settings, read anew from the files; None for plain TCP.

    Raises BrokerUnusable when a file is missing, unreadable or does not fit.
    """
    if not broker.secured:
        return None
    if (broker.cert is None) != (broker.key is None):
        missing = "cert" if broker.cert is None else "key"
        raise BrokerUnusable(f"the broker's '{missing}' is not set; cert and key go together.")
    try:
        context = ssl.create_default_context(cafile=broker.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if broker.cert is not None:
            context.load_cert_chain(broker.cert, broker.key)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(f) for f in (broker.ca, broker.cert, broker.key) if f is not None)
        raise BrokerUnusable(
            f"the broker's certificates ({files}) cannot be used: {error}; "
            "check that they exist, may be read and belong together."
        ) from error
    return context


def password(broker: BrokerSettings) -> str | None:
    """The password in the password file, without its last line break. Raises BrokerUnusable."""
    if broker.password_file is None:
        return None
    try:
        return broker.password_file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BrokerUnusable(
            f"the password file {broker.password_file} cannot be read: {error}."
        ) from error
