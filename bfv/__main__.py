# SPDX-License-Identifier: Apache-2.0
"""``python -m bfv`` is the ``bfv`` command."""

import sys

from bfv.cli import main

sys.exit(main())
