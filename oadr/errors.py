# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a message; each fault bears its OpenADR responseCode and HTTP status.

OadrError
├── Refused                what came in is not acted on at all: the HTTP status is the answer
│   ├── Oversize           413  longer than the limit
│   ├── NotUtf8            406  another encoding, or not text
│   ├── Malformed          406  not well-formed XML
│   ├── ForbiddenXml       406  a DOCTYPE (and with it every entity)
│   ├── SchemaInvalid      406  well-formed, but not an OpenADR 2.0b payload
│   ├── Unproven           403  signatures are asked for, and this message proves nothing (rule 514)
│   │   ├── Unsigned            no signature at all
│   │   ├── BadSignature        not the fixed profile, another key, or altered on the way
│   │   ├── StaleMessage        signed too long ago, or dated too far ahead
│   │   └── ReplayedMessage     its nonce was seen before
│   └── NonceMemoryFull    503  more signed messages at once than can be remembered
├── InvalidContent         200  schema-valid but unusable: answered with an application error
├── Unbuildable            500  our own value has no place in the standard's vocabulary
└── UnusableKey            500  a key or certificate that the signature profile does not admit

Rule 514 has a message without proof ignored. Over HTTP the nearest to that is a bare 403, as for a
failed TLS authentication (rule 517), without an OpenADR answer: nothing of the message may be
believed, not even the requestID an answer would echo. Its 463 is for who must answer all the same.

Codes are those of the OpenADR 2.0b Profile Specification: 450 out of sequence, 451 not allowed,
452 invalid ID, 453 not recognised, 454 invalid data, 459 other compliance, 460 signal not
supported, 461 report not supported, 462 target mismatch, 463 not registered or authorised,
469 other deployment error.
"""


class OadrError(Exception):
    """A fault in a message: one sentence, and the `response_code` and `http_status` to answer."""

    response_code = "459"
    http_status = 500


class Refused(OadrError):
    """The bytes are not an OpenADR 2.0b payload."""

    response_code = "454"
    http_status = 406


class Oversize(Refused):
    """The body is longer than the limit."""

    http_status = 413


class NotUtf8(Refused):
    """The body is not UTF-8 text."""


class Malformed(Refused):
    """The body is not well-formed XML."""


class ForbiddenXml(Refused):
    """The body declares a DOCTYPE."""


class SchemaInvalid(Refused):
    """The body is XML, but not valid by the OpenADR 2.0b schema."""


class Unproven(Refused):
    """Signatures are asked for, and nothing shows who sent this message, or when (rule 514)."""

    response_code = "463"
    http_status = 403


class Unsigned(Unproven):
    """The message bears no signature."""


class BadSignature(Unproven):
    """The signature is not of the fixed profile, or does not verify with the registered key."""


class StaleMessage(Unproven):
    """The message was signed too long ago, or is dated too far ahead."""


class ReplayedMessage(Unproven):
    """The message was received before."""


class NonceMemoryFull(Refused):
    """A replay of this message could not be told from it; the sender may try again later."""

    response_code = "469"
    http_status = 503


class InvalidContent(OadrError):
    """Valid by the schema, but nothing that can be acted on (rules 33 and 48)."""

    response_code = "459"
    http_status = 200

    def __init__(self, sentence: str, *, message: str = "", request_id: str = "") -> None:
        super().__init__(sentence)
        self.message = message
        """The wire name of the message ("oadrCreateOpt"): it decides the fitting reply."""
        self.request_id = request_id
        """The message's own requestID, for the reply to echo; "" where it has none."""


class Unbuildable(OadrError):
    """A value of ours that the wire cannot carry."""


class UnusableKey(OadrError):
    """A key or certificate of ours, or one registered with us, that cannot sign or verify."""
