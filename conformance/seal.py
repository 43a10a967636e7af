# SPDX-License-Identifier: Apache-2.0
"""XML signatures of the harness (rule 514): everything it sends is signed, what it gets is judged.

seal = Seal(keys, [Path("vtn-ecc.crt"), Path("vtn-rsa.crt")])
body = seal.close(build(message))
fault = seal.open(tree(answer))     # "" where the signature is good
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from conformance.drafts import utc_now
from conformance.errors import SetUpFault
from conformance.wire import Keys
from oadr import OadrError
from oadr.codec import Element
from oadr.replay import Nonce, NonceWindow
from oadr.signature import Signer, Verifier


class Seal:
    """The harness's own key, and the certificates that the device under test may sign with."""

    def __init__(self, keys: Keys, peers: Sequence[Path]) -> None:
        """Raises SetUpFault where a certificate or key cannot be used for signatures."""
        try:
            self._signer = Signer(keys.cert.read_bytes(), keys.key.read_bytes())
            self._verifier = Verifier(*(path.read_bytes() for path in peers))
        except OSError as error:
            raise SetUpFault(f"{error.filename} cannot be read: {error.strerror}.") from error
        except OadrError as error:
            raise SetUpFault(f"--sign: {error}") from error
        self._window = NonceWindow()

    def close(self, body: bytes, *, at: datetime | None = None) -> bytes:
        """The body signed now, or as if it were another time.

        What cannot be signed (no payload, or one that is signed) goes out as it is: some tests
        send just that.
        """
        try:
            return self._signer.sign(body, now=at or utc_now())
        except OadrError:
            return body

    def open(self, root: Element) -> str:
        """What is wrong with the signature of a payload that is valid by the schema; "" = good."""
        try:
            verified = self._verifier.verify(root)
            nonce = Nonce(sender="peer", value=verified.nonce, sent_at=verified.sent_at)
            self._window.enter(nonce, now=utc_now())
        except OadrError as error:
            return str(error)
        return ""
