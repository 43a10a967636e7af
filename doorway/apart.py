# SPDX-License-Identifier: Apache-2.0
"""Work in a task of its own, for who goes on when it has failed, or was itself cancelled."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def apart(work: Coroutine[Any, Any, T]) -> T:
    """Do some work in a task of its own, which is cancelled with the caller; what it raises passes.

    A task whose asyncio.TaskGroup failed is left counted as cancelled (CPython before 3.13). Who
    catches the failure and goes on in that task is cancelled for good by its next asyncio.timeout
    that runs out, in 3.11.2, which is Debian bookworm's. So is who is cancelled and tidies up.
    """
    return await asyncio.create_task(work)
