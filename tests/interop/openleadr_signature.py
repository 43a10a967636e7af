"""openleadr's own signing and verifying as a process of its own.

python openleadr_signature.py sign CERTIFICATE KEY VEN_ID   a signed oadrPoll to standard output
python openleadr_signature.py verify FILE...                a JSON line for each: what it says
"""

import json
import sys
from pathlib import Path

from openleadr.messaging import (
    create_message,
    parse_message,
    validate_xml_schema,
    validate_xml_signature,
)


def sign(certificate: str, key: str, ven_id: str) -> None:
    message = create_message(
        "oadrPoll",
        cert=Path(certificate).read_bytes(),
        key=Path(key).read_bytes(),
        ven_id=ven_id,
    )
    sys.stdout.write(message)


def verify(*files: str) -> None:
    for file in files:
        body = Path(file).read_bytes()
        try:
            validate_xml_signature(validate_xml_schema(body))
        except Exception as error:  # noqa: BLE001 - whatever it raises is its refusal
            said = {"refused": f"{type(error).__name__}: {error}"}
        else:
            said = {"message": parse_message(body)[0]}
        sys.stdout.write(json.dumps(said) + "\n")


{"sign": sign, "verify": verify}[sys.argv[1]](*sys.argv[2:])
