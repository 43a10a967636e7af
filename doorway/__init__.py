# SPDX-License-Identifier: Apache-2.0
"""What every program of the house does the same way at its door: settings, faults, logs."""

from doorway.command import Door, show, show_json, show_verdict
from doorway.errors import Fault, SettingsFault
from doorway.logs import LOG_FORMAT, LogFormat, configure_logs, get_logger
from doorway.settings import decode_settings, explain, load_settings

__all__ = [
    "LOG_FORMAT",
    "Door",
    "Fault",
    "LogFormat",
    "SettingsFault",
    "configure_logs",
    "decode_settings",
    "explain",
    "get_logger",
    "load_settings",
    "show",
    "show_json",
    "show_verdict",
]
