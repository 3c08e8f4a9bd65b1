"""
``python -m resilient``: the same as the command ``resilient``.
"""

from __future__ import annotations

import sys

from resilient.command import step_aside

__all__: list[str] = []

if __name__ == "__main__":
    step_aside()
    # Only now: until then, modules of the working folder would come first.
    from resilient.command.main import main

    sys.exit(main())
