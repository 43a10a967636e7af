# SPDX-License-Identifier: Apache-2.0
"""The whole path on one machine: real sockets, real programs, a real building's load."""
