# SPDX-License-Identifier: Apache-2.0
"""ID tokens of OpenID Connect: is it signed by this issuer, for us, now, and for this log-in?

What is taken is RS256 or ES256, by a key that the issuer publishes for signing. Which algorithm
verifies follows from the key; what the token says of itself must agree, so `none` and HMAC never
verify. Every other claim is looked at here, with our clock.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from vtn.config import OidcSettings
from vtn.errors import LoginRefused

if TYPE_CHECKING:
    from jwt import PyJWK

ALGORITHMS: Final = {"RSA": "RS256", "EC": "ES256"}
"""By the kind of key."""
LEEWAY_S: Final = 60.0
"""How far the issuer's clock may be off ours."""
LEAST_RSA_BITS: Final = 2048
_MOST_CHARACTERS: Final = 100_000
_FAR: Final = 2**53
"""Seconds that nobody means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Somebody whom the issuer has vouched for, just now."""

    subject: str
    """`ISSUER SUBJECT`: stays the same when they are renamed."""
    name: str
    """What the issuer calls them; "" where it does not say."""
    groups: frozenset[str] = field(default=frozenset())
    """What stands in the claim that roles are given by."""


class UnknownKey(LoginRefused):
    """Signed by a key that the issuer did not publish when it was last asked."""


def verified(
    token: str,
    keys: Sequence[Mapping[str, Any]],
    *,
    settings: OidcSettings,
    nonce: str,
    now: datetime,
) -> Identity:
    """Whom the token is about; `keys` are the issuer's published ones (JWKS).

    Raises UnknownKey where it may help to ask for the keys again, else LoginRefused.
    """
    import jwt  # noqa: PLC0415 - waits for the first log-in: most VTNs need it never

    if len(token) > _MOST_CHARACTERS:
        raise _refused("is too long")
    reader = jwt.PyJWS(algorithms=list(ALGORITHMS.values()))
    try:
        header = reader.get_unverified_header(token)
        if header.get("alg") not in ALGORITHMS.values():
            raise _refused("is signed by an algorithm that is not taken; RS256 and ES256 are")
        payload = reader.decode(token, _key_of(header, keys))
        claims = msgspec.json.decode(payload, type=dict[str, Any])
    except (jwt.PyJWTError, msgspec.DecodeError, ValueError, TypeError) as error:
        raise _refused("is not signed as it should be") from error
    _check(claims, settings, nonce, now)
    return Identity(
        subject=f"{settings.issuer} {claims['sub']}",
        name=_text(claims.get(settings.name_claim)),
        groups=_texts(_claim(claims, settings.roles_claim)),
    )


def _key_of(header: Mapping[str, Any], keys: Sequence[Mapping[str, Any]]) -> "PyJWK":
    """The published key that the header names, or the only one of its kind.

    Raises UnknownKey, LoginRefused, jwt.PyJWTError.
    """
    import jwt  # noqa: PLC0415 - as above

    fit = [
        key
        for key in keys
        if ALGORITHMS.get(str(key.get("kty"))) == header["alg"]
        and key.get("use", "sig") == "sig"
        and key.get("alg", header["alg"]) == header["alg"]
        and (key.get("kty") != "EC" or key.get("crv") == "P-256")
    ]
    if "kid" in header:
        fit = [key for key in fit if key.get("kid") == header["kid"]]
    if len(fit) != 1:
        raise UnknownKey("The provider signed with a key that it does not publish; log in again.")
    found = jwt.PyJWK(dict(fit[0]), algorithm=header["alg"])
    if header["alg"] == "RS256" and found.key.key_size < LEAST_RSA_BITS:
        raise _refused(f"is signed with a key of less than {LEAST_RSA_BITS} bits")
    return found


def _check(claims: Mapping[str, Any], settings: OidcSettings, nonce: str, now: datetime) -> None:
    """OpenID Connect Core 1.0, 3.1.3.7. Raises LoginRefused."""
    at = now.timestamp()
    audiences = claims.get("aud")
    audiences = audiences if isinstance(audiences, list) else [audiences]
    if claims.get("iss") != settings.issuer:
        raise _refused("is of another issuer")
    if settings.client_id not in audiences:
        raise _refused("is for another program")
    if len(audiences) > 1 and claims.get("azp") is None:
        raise _refused("is for several programs, and does not say for which it was made")
    if claims.get("azp") not in (None, settings.client_id):
        raise _refused("was made for another program")
    if not hmac.compare_digest(str(claims.get("nonce")).encode(), nonce.encode()):
        raise _refused("belongs to another log-in")
    if not isinstance(claims.get("sub"), str) or not 0 < len(claims["sub"]) <= 255:
        raise _refused("does not say whom it is about")
    ends, made = _seconds(claims, "exp"), _seconds(claims, "iat")
    if ends is None or made is None:
        raise _refused("does not say how long it is good for")
    if ends + LEEWAY_S <= at:
        raise _refused("has expired; compare the clocks of the provider and of the VTN")
    if max(made, _seconds(claims, "nbf") or 0.0) - LEEWAY_S > at:
        raise _refused("is of the future; compare the clocks of the provider and of the VTN")


def _refused(what: str) -> LoginRefused:
    return LoginRefused(f"What the provider says of you {what}.")


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _FAR else None


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by its path: realm_access.roles."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _texts(value: Any) -> frozenset[str]:
    several = value if isinstance(value, list) else [value]
    return frozenset(one for one in several if isinstance(one, str))
