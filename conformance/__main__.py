# SPDX-License-Identifier: Apache-2.0
"""python -m conformance"""

from conformance.cli import main

main()
