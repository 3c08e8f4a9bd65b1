"""
``python -m resilient``: the same as the command ``resilient``.
"""

from __future__ import annotations

import sys

from resilient.command.main import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
