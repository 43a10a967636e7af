# SPDX-License-Identifier: Apache-2.0
"""Faults that a person can act on.

Fault
└── SettingsFault     a settings file is missing, unreadable or wrong
(each package hangs its own family below Fault)
"""


class Fault(Exception):
    """A refusal. Its text is one sentence: what is wrong and what to do; nothing was changed."""


class SettingsFault(Fault):
    """A settings file cannot be used; the sentence names the file and the key."""
