"""
Print pip constraints for the lowest dependency versions that pyproject.toml admits.

The numbers stand in pyproject.toml only. The extra ``dev`` is left out: it
holds tools, not what users install.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

LOWER_BOUND = re.compile(r"(?P<name>[A-Za-z0-9._-]+)>=(?P<version>[0-9.]+)")


def main() -> None:
    """
    Print one ``name==version`` a line.
    """
    with Path(__file__).parent.with_name("pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"]
    for requirement in (*project["dependencies"], *(one for name in extras if name != "dev" for one in extras[name])):
        bound = LOWER_BOUND.fullmatch(requirement)
        if bound is None:
            sys.exit(f"pyproject.toml: {requirement!r} states no lower bound of the form name>=version")
        print(f"{bound['name']}=={bound['version']}")


if __name__ == "__main__":
    main()
