from __future__ import annotations

import os
import time
import tomllib
from pathlib import Path

import pytest

from resilient import PolicyError
from resilient.declared.reading import LIMIT, BrokenError, Text, find, parse, read


def wrong(path):
    """
    Return the problems that reading *path* tells, without the path.
    """
    with pytest.raises(PolicyError) as caught:
        read(path)
    assert caught.value.where == str(path)
    assert all(problem.startswith(str(path)) for problem in caught.value.problems)
    return [problem.removeprefix(str(path)).removeprefix(":").strip() for problem in caught.value.problems]


@pytest.fixture
def file(tmp_path):
    """
    Return what writes bytes or text to a file of policies, and returns its path.
    """

    def write(content, name="resilient.toml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


# -- Which file -----------------------------------------------------------------------


def test_the_variable_is_first(file, tmp_path):
    """
    What RESILIENT_CONFIG names is the file, before all others and whether it exists or not.
    """
    file("")

    assert find(tmp_path, {"RESILIENT_CONFIG": "/not/there.toml"}) == Path("/not/there.toml")
    assert find(tmp_path, {"RESILIENT_CONFIG": ""}) == tmp_path / "resilient.toml"


def test_the_nearest_file_is_found(file, tmp_path):
    """
    A resilient.toml in the folder or above it is found, the nearest first, also from the working folder.
    """
    top = file("")
    near = file("", "a/b/resilient.toml")
    file("[tool.resilient]", "a/b/c/pyproject.toml")

    assert find(tmp_path / "a", {}) == top
    assert find(tmp_path / "a" / "b" / "c", {}) == near


def test_the_working_folder_is_where_it_begins(file, monkeypatch):
    """
    Without a folder it begins in the working folder, and what it finds stays true when that changes.
    """
    path = file("")
    monkeypatch.chdir(path.parent)
    monkeypatch.delenv("RESILIENT_CONFIG", raising=False)

    assert find() == path
    assert find(Path(), {}).is_absolute()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[tool.resilient.policies.gpu]", True),
        ("tool = { resilient = {} }", True),
        ("tool = 3", False),
        ("[tool.ruff]", False),
        ("", False),
        ("[tool.resilient", True),
    ],
)
def test_a_project_file_counts_with_a_table_of_ours(file, text, found):
    """
    A pyproject.toml is the file where it has our table, or is too broken to tell: then reading it tells.
    """
    path = file(text, "pyproject.toml")

    assert find(path.parent, {}) == (path if found else None)


def test_only_the_nearest_project_file_is_looked_at(file, tmp_path):
    """
    A project does not get the policies of the project around it.
    """
    file("[tool.resilient]", "pyproject.toml")
    file("[project]", "inner/pyproject.toml")

    assert find(tmp_path / "inner", {}) is None


def test_folders_are_no_files(tmp_path):
    """
    A folder that is called like the file is not the file.
    """
    (tmp_path / "resilient.toml").mkdir()

    assert find(tmp_path, {}) is None


# -- Reading ---------------------------------------------------------------------------


def test_read(file):
    """
    A file comes back as its tables, with the line of each key.
    """
    path = file("[policies.gpu]\nretry = true\n")

    assert read(path) == Text(
        str(path),
        {"policies": {"gpu": {"retry": True}}},
        {("policies",): 1, ("policies", "gpu"): 1, ("policies", "gpu", "retry"): 2},
        "file",
        folder=str(path.parent),
    )


def test_an_empty_file(file):
    """
    A file that says nothing is a file.
    """
    assert read(file("")).tables == {}


def test_of_a_project_file_only_our_table_is_read(file):
    """
    Of a pyproject.toml its table [tool.resilient] is what counts, with the lines that it has there.
    """
    text = read(file("[project]\nname = 'x'\n[tool.resilient.policies.gpu]\nretry = true\n", "pyproject.toml"))

    assert text.tables == {"policies": {"gpu": {"retry": True}}}
    assert text.lines == {("policies",): 3, ("policies", "gpu"): 3, ("policies", "gpu", "retry"): 4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[project]", ["has no table [tool.resilient]; add one, or name another file"]),
        ("[tool]", ["has no table [tool.resilient]; add one, or name another file"]),
        ("\ntool = 3", ["2: tool: must be a table, got an integer"]),
        ("[tool]\nresilient = 'hunter2'", ["2: tool.resilient: must be a table, got a string"]),
    ],
)
def test_a_project_file_without_our_table(file, text, expected):
    """
    A pyproject.toml that was named and has nothing for us is told.
    """
    assert wrong(file(text, "pyproject.toml")) == expected


def test_line_ends_and_a_mark_at_the_beginning(file):
    """
    What editors on Windows add changes nothing: a byte order mark, and other line ends.
    """
    text = read(file(b"\xef\xbb\xbf[policies.gpu]\r\nretry = true\r\n"))

    assert text.tables == {"policies": {"gpu": {"retry": True}}}
    assert text.lines["policies", "gpu", "retry"] == 2


def test_labels_are_safe(file):
    """
    A path that would steer a terminal is escaped where people read it.
    """
    assert "\\x1b[31m" in read(file("", "red\x1b[31m.toml")).label


# -- What cannot be read -----------------------------------------------------------------


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_other_encodings(file, codec):
    """
    A file that was saved as UTF-16 or UTF-32 is told so, with a mark at its beginning or without.
    """
    assert wrong(file("[policies.gpu]\n".encode(codec))) == [
        "1: is UTF-16 or UTF-32, or no text at all; save it as UTF-8"
    ]


def test_broken_bytes(file):
    """
    Bytes that are no UTF-8 are told with their line.
    """
    assert wrong(file(b"[policies]\n# \xc3\xa9\n# \xe9\n")) == ["3: is not UTF-8 here; save the file as UTF-8"]


def test_a_file_that_is_not_there(tmp_path):
    """
    A file that cannot be opened is told with the system's reason.
    """
    assert wrong(tmp_path / "none.toml") == ["cannot be read: No such file or directory"]
    assert wrong(tmp_path) == ["cannot be read: Is a directory"]


def test_a_name_that_no_file_can_have():
    """
    A path with a zero in it is an error like any other.
    """
    with pytest.raises(PolicyError, match="cannot be read: no file can have this name"):
        read(Path("a\0b"))


def test_a_pipe():
    """
    A pipe has no size to ask for: it is read, as far as a file would be.
    """
    receive, send = os.pipe()
    os.write(send, b"[policies.gpu]\n")
    os.close(send)

    try:
        assert read(Path(f"/dev/fd/{receive}")).tables == {"policies": {"gpu": {}}}
    finally:
        os.close(receive)


def test_what_never_ends():
    """
    Of something without an end only as much is read as tells that it is too much.
    """
    assert wrong(Path("/dev/zero")) == [
        "has more than 1,048,576 bytes; a file of policies is shorter, so this may be another"
    ]


@pytest.mark.parametrize(("size", "fits"), [(LIMIT, True), (LIMIT + 1, False)])
def test_size(file, size, fits):
    """
    A file may be as long as the limit, and no longer.
    """
    path = file(b"#" * size)

    if fits:
        assert read(path).tables == {}
    else:
        assert "has more than" in wrong(path)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[policies.gpu]\nretry = hunter2\n", "2: is no TOML: "),
        ("[policies.gpu]\nretry = { max_attempts = 4, init", "2: is no TOML: "),
        ('[policies.gpu]\nextends = "hunter2\n', "2: is no TOML: "),
        ('[policies.gpu]\nextends = """hunter2\n\n\n', "2: is no TOML: "),
        ("[policies.gpu\n", "1: is no TOML: "),
        ("a = 1\nb = '\x00'\n", "2: is no TOML: "),
        ("a = 1\n\nb = " + "9" * 5000, "3: a number has more digits than Python reads"),
        ("a = 1\nb = " + "[" * 100_000, "2: is nested more than 64 deep"),
        ("a = 1\n" + ".".join("a" * 100_000) + " = 1", "2: is nested more than 64 deep"),
    ],
)
def test_what_is_no_toml(file, text, expected):
    """
    A text that is no TOML is told with its line, and nothing of its values.
    """
    before = time.perf_counter()
    (problem,) = wrong(file(text))

    assert problem.startswith(expected)
    assert "hunter2" not in problem
    assert time.perf_counter() - before < 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[policies.gpu]\nretry = true\n\nretry = [\n1,\n]\n\n",
            "4: policies.gpu.retry: is given twice; line 2 has it, or what it is in, already",
        ),
        ("[a]\nb = 1\n[c]\n[a]\n", "4: a: is given twice; line 1 has it, or what it is in, already"),
        ("a.b = 1\n[a]\n", "2: a: is given twice; line 1 has it, or what it is in, already"),
        ("a = 1\n[a]\n", "2: a: is given twice; line 1 has it, or what it is in, already"),
        ("a = 1\na.b = 2\n", "2: a.b: is given twice; line 1 has it, or what it is in, already"),
        (
            "\n[functions]\n'm:f' = { retry = true, retry = false }\n",
            '3: functions."m:f".retry: is given twice; line 3 has it, or what it is in, already',
        ),
        ("a = { b = 1 }\n[a.c]\n", "2: a.c: is given twice; line 1 has it, or what it is in, already"),
    ],
)
def test_keys_that_are_given_twice(file, text, expected):
    """
    A key that is there already is told with both lines, whether it ends where it begins or not.
    """
    assert wrong(file(text)) == [expected]


def test_a_message_that_nobody_knows(monkeypatch):
    """
    What another version of the parser says is told too, on one line.
    """

    def refuse(text):
        raise tomllib.TOMLDecodeError("Cannot\nbe meant")

    monkeypatch.setattr("tomllib.loads", refuse)

    with pytest.raises(BrokenError) as caught:
        parse("")

    assert (caught.value.line, caught.value.problem, caught.value.key) == (1, "is no TOML: Cannot\\nbe meant", "")


def test_one_descriptor(file, monkeypatch):
    """
    What is measured is what is read: a file that is put in its place in between is not looked at.
    """
    path = file("a = 1")
    real = os.fstat

    def swap(descriptor):
        found = real(descriptor)
        path.unlink()
        path.write_bytes(b"#" * (LIMIT + 1))
        return found

    monkeypatch.setattr("os.fstat", swap)

    assert read(path).tables == {"a": 1}


def test_a_file_that_grows_while_it_is_read(file, monkeypatch):
    """
    A file that has become too long since it was measured is refused.
    """
    path = file("a = 1\n")
    real = os.fstat

    def grow(descriptor):
        found = real(descriptor)
        with path.open("ab") as more:
            more.write(b"#" * LIMIT)
        return found

    monkeypatch.setattr("os.fstat", grow)

    assert "has more than" in wrong(path)[0]
