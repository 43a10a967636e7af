# SPDX-License-Identifier: Apache-2.0
"""The API's description as a document: `python -m vtn.operations.described docs/openapi.json`."""

import json
import sys
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.di import Provide

from vtn.operations.app import api_router, description


def described() -> dict[str, Any]:
    """OpenAPI 3.1 of the API, made of the declarations that it is served by."""
    needs = ("desk", "vitals", "now", "by", "who", "accounts")
    app = Litestar(
        [api_router()],
        openapi_config=description(),
        dependencies={name: Provide(lambda: None, sync_to_thread=False) for name in needs},
    )
    found: dict[str, Any] = json.loads(json.dumps(app.openapi_schema.to_schema()))
    return found


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(described(), indent=1) + "\n", encoding="utf-8")
