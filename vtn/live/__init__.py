# SPDX-License-Identifier: Apache-2.0
"""What has changed, told to whoever listens: the feed behind /live."""

from vtn.live.changes import TOPIC, Change
from vtn.live.feed import Feed, Stream

__all__ = ["TOPIC", "Change", "Feed", "Stream"]
