# SPDX-License-Identifier: Apache-2.0
"""The operator's token: one line in a file that only its owner reads."""

import os
import secrets
from pathlib import Path

from vtn.errors import Unauthorised

LEAST = 16
"""A token has at least this many characters; one made here has 43."""


def create_token(file: Path) -> bool:
    """Write a new token with mode 0600; False where the file is there already, which stays."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise Unauthorised(f"{file}: the token cannot be written: {error.strerror}.") from error
    with os.fdopen(handle, "w", encoding="ascii") as out:
        out.write(secrets.token_urlsafe(32) + "\n")
    return True


def read_token(file: Path) -> str:
    """Raises Unauthorised where there is none or nobody could have meant it as one."""
    try:
        token = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise Unauthorised(f"{file}: there is no operator's token; run vtn init.") from None
    except OSError as error:
        raise Unauthorised(
            f"{file}: the operator's token cannot be read: {error.strerror}; run as its owner."
        ) from error
    except UnicodeDecodeError:
        token = ""
    if len(token) < LEAST or any(sign.isspace() for sign in token):
        raise Unauthorised(
            f"{file}: this is no token; remove the file and run vtn init to have one made."
        )
    return token
