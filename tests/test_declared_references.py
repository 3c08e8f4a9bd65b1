"""
References in declarations.
"""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from resilient import PolicyError
from resilient.declared.document import build
from resilient.declared.reading import read
from resilient.declared.references import is_reference, looked_for_in, parse, program_name, resolve


@pytest.fixture
def module(monkeypatch):
    """
    Return a module called ``shop`` that is imported already.
    """
    made = types.ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", made)
    return made


def test_a_reference_is_a_module_and_attributes():
    """
    The module stands before the colon, the path of attributes behind it.
    """
    assert parse("engine.video:VideoEngine.generate") == ("engine.video", ("VideoEngine", "generate"))


@pytest.mark.parametrize(
    "text", ["", ":", "a", "a:", ":b", "a.b", "a:b:c", "a..b:c", "a:b.", "a b:c", "a" * 600 + ":b"]
)
def test_what_is_no_reference_is_refused_and_not_repeated(text):
    """
    A text of another form is no reference, and the message does not show it.
    """
    with pytest.raises(ValueError, match=r"^must be a reference like 'module:attribute'$"):
        parse(text)
    assert not is_reference(text)


def test_a_reference_is_followed():
    """
    What a reference names is found, within classes too.
    """
    import collections

    assert resolve("builtins:ConnectionError") is ConnectionError
    assert resolve("collections:OrderedDict.fromkeys") == collections.OrderedDict.fromkeys


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("no reference", "must be a reference"),
        ("colections:OrderedDict", "there is no module 'colections'; did you mean 'collections'?"),
        ("email.mesage:Message", "there is no module 'email.mesage'"),
        ("zzzzqqqq:x", "there is no module 'zzzzqqqq'"),
        ("collections:OrderedDit", "'collections' has no attribute 'OrderedDit'; did you mean 'OrderedDict'?"),
        ("collections:OrderedDict.fromkey", "'collections:OrderedDict' has no attribute 'fromkey'; did you mean"),
    ],
)
def test_a_reference_that_leads_nowhere_names_the_part_that_failed(reference, told):
    """
    The error names the reference, what is not there, and what may have been meant.
    """
    with pytest.raises(PolicyError) as caught:
        resolve(reference)

    assert told in str(caught.value)


def test_an_attribute_that_raises_is_told_with_the_type_of_the_error(module):
    """
    A module's own code may raise anything when it is asked for an attribute.
    """

    def get(name):
        msg = "s3cret"
        raise RuntimeError(msg)

    module.__getattr__ = get

    with pytest.raises(PolicyError, match="reading 'thing' of 'shop' raised RuntimeError") as caught:
        resolve("shop:thing")
    assert "s3cret" not in str(caught.value)


def test_a_module_that_cannot_list_itself_gives_no_suggestion(module):
    """
    Where ``dir`` raises, the error says what is missing all the same.
    """

    def listing():
        raise RuntimeError

    module.__dir__ = listing

    with pytest.raises(PolicyError, match=r"'shop' has no attribute 'thing'$"):
        resolve("shop:thing")


def test_a_module_that_is_being_imported_is_said_to_be(module):
    """
    What is missing while its module is still being imported may come yet.
    """
    module.__spec__ = types.SimpleNamespace(_initializing=True)

    with pytest.raises(PolicyError, match="has no attribute 'thing' yet"):
        resolve("shop:thing")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("raise RuntimeError('s3cret')", "importing 'broken_shop' raised RuntimeError"),
        ("import nothing_of_this_name", "it needs 'nothing_of_this_name', and there is no such module"),
    ],
)
def test_a_module_that_fails_to_import_is_named(tmp_path, monkeypatch, source, told):
    """
    The error says which module failed, and by what, without its text.
    """
    (tmp_path / "broken_shop.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(PolicyError, match=told) as caught:
        resolve("broken_shop:thing")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "arrives"), [("SystemExit(3)", PolicyError), ("KeyboardInterrupt", KeyboardInterrupt)]
)
def test_a_module_that_ends_the_program_is_a_problem_of_its_own(tmp_path, monkeypatch, raised, arrives):
    """
    Whoever watches a file must not end for it. Ctrl-C passes through.
    """
    (tmp_path / "leaving_shop.py").write_text(f"raise {raised}", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(arrives):
        resolve("leaving_shop:thing")


@pytest.mark.parametrize(
    ("spec", "file", "called"),
    [
        (types.SimpleNamespace(name="film.__main__"), "/film/__main__.py", "film"),
        (types.SimpleNamespace(name="film.cut"), "/film/cut.py", "film.cut"),
        (None, "/films/noir.py", "noir"),
        (None, None, None),
    ],
)
def test_the_running_program_is_not_imported_a_second_time(monkeypatch, spec, file, called):
    """
    A reference into the program that runs means the module that runs, whatever it is called beside ``__main__``.
    """
    main = types.ModuleType("__main__")
    main.__spec__, main.__file__, main.render = spec, file, len
    monkeypatch.setitem(sys.modules, "__main__", main)

    assert program_name() == called
    assert called is None or resolve(f"{called}:render") is len


# -- the folder of a file ----------------------------------------------------------------


def test_a_file_finds_the_modules_beside_it(tmp_path, monkeypatch):
    """
    Its folder is looked into after all other places, and is not a place to look into any more when it was read.
    """
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = list(sys.path)
    (tmp_path / "beside_the_file.py").write_text("import sys\nplaces = list(sys.path)\n")
    (tmp_path / "resilient.toml").write_text('import = ["beside_the_file"]\n')
    build(read(tmp_path / "resilient.toml"))
    found = sys.modules.pop("beside_the_file")

    assert found.places == [*before, str(tmp_path)]
    assert sys.path == before


def test_a_module_that_puts_the_folder_in_front_keeps_it_there(tmp_path, monkeypatch):
    """
    What was there for a moment is the last; the module's own is the first.
    """
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = list(sys.path)
    with looked_for_in(str(tmp_path)):
        sys.path.insert(0, str(tmp_path))

    assert sys.path == [str(tmp_path), *before]

    with looked_for_in(str(tmp_path)):
        sys.path.remove(str(tmp_path))

    assert sys.path == before

    with looked_for_in(str(tmp_path)):
        sys.path.remove(str(tmp_path))

    assert sys.path == before


@pytest.mark.parametrize("option", [[], ["-P"]])
def test_python_may_be_asked_not_to_look_there(tmp_path, option):
    """
    With ``-P`` only the places that Python was given are looked into.
    """
    (tmp_path / "beside_the_file.py").write_text("")
    (tmp_path / "resilient.toml").write_text('import = ["beside_the_file"]\n')
    command = [sys.executable, *option, "-m", "resilient", "check", str(tmp_path / "resilient.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ("there is no module 'beside_the_file'" in done.stdout) == bool(option)
    assert done.returncode == len(option)
