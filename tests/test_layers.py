"""
The import order that the architecture page states is the one that the code has.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
MODULES = sorted(path for path in (ROOT / "resilient").rglob("*.py") if path.name != "__main__.py")


def layers():
    """
    Return the rank of each layer: its line in the page's list.
    """
    block = re.search(r"<!-- layers -->\n```\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block
    lines = block[1].splitlines()
    return {name: rank for rank, line in enumerate(lines) for name in line.split()}


RANKS = layers()


def name_of(path):
    """
    Return the module's name within the package.
    """
    relative = path.relative_to(ROOT / "resilient").with_suffix("")
    parts = [part for part in relative.parts if part != "__init__"]
    return ".".join(parts)


def rank_of(module):
    """
    Return the rank of *module*, or of the package that is listed for it.
    """
    while module:
        if module in RANKS:
            return RANKS[module]
        module = module.rpartition(".")[0]
    return None


def imports(tree):
    """
    Yield what a module imports of this package when it is itself imported.
    """
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "resilient":
            base = node.module.partition(".")[2]
            for alias in node.names:
                dotted = f"{base}.{alias.name}".strip(".")
                yield dotted if (ROOT / "resilient" / f"{dotted.replace('.', '/')}.py").exists() else base


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_stands_above_it(path):
    """
    A module imports from its own line of the list or from the lines above, and from its own package.
    """
    module = name_of(path)
    if not module or (path.name == "__init__.py" and module in {"policies", "adapters"}):
        pytest.skip("a package's own face")
    rank = rank_of(module)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wrong = [
        one
        for one in imports(tree)
        if one and (rank_of(one) is None or rank_of(one) > rank) and one.partition(".")[0] != module.partition(".")[0]
    ]

    assert rank is not None, f"{module} is not in the list on the architecture page"
    assert wrong == []


def test_the_list_names_only_what_exists():
    """
    Every name in the list is a module or a package.
    """
    missing = [
        name
        for name in RANKS
        if not (ROOT / "resilient" / f"{name.replace('.', '/')}.py").exists()
        and not (ROOT / "resilient" / name.replace(".", "/")).is_dir()
    ]

    assert missing == []
