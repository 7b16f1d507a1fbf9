"""Untrusted names, made safe."""

from __future__ import annotations

import pytest

from geventbt.metainfo.paths import UniquePaths, safe_name


@pytest.mark.parametrize(
    "name", ["a", "a.txt", ".hidden", "...", "a b", " a", "a.", "µ.é", "日本.txt", "aux.c", "a:b", "x" * 255]
)
def test_a_good_name_stays_as_it_is(name: str):
    assert safe_name(name.encode(), windows=False) == name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"", "_"),
        (b".", "_"),
        (b"..", "__"),
        (b"/", "_"),
        (b"../../etc/passwd", ".._.._etc_passwd"),
        (b"/etc/passwd", "_etc_passwd"),
        (b"..\\..\\x", ".._.._x"),
        (b"a\x00b", "a_b"),
        (b"a\nb\x1b[31m\x7f", "a_b_[31m_"),
        (b"\xff\xfe", "__"),
        (b"\xc0\xae\xc0\xae", "____"),  # an overlong "..", once a way out
        ("\u202egpj.exe".encode(), "_gpj.exe"),
        ("\u0085".encode(), "_"),
    ],
)
def test_what_is_no_good_in_a_name_is_replaced(raw: bytes, name: str):
    assert safe_name(raw, windows=False) == name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"C:", "C_"),
        (b'a<b>c"d|e?f*g', "a_b_c_d_e_f_g"),
        (b"con", "_con"),
        (b"AUX.c", "_AUX.c"),
        (b"nul .txt", "_nul .txt"),
        (b"com1", "_com1"),
        (b"command", "command"),
        (b"a.", "a_"),
        (b"a. .", "a___"),
        (b"...", "___"),
    ],
)
def test_what_windows_cannot_take_is_replaced_there(raw: bytes, name: str):
    assert safe_name(raw, windows=True) == name


def test_a_long_name_is_cut_and_keeps_its_extension():
    assert safe_name(b"a" * 300 + b".mkv") == "a" * 251 + ".mkv"
    assert safe_name(b"a" * 300) == "a" * 255
    assert safe_name(b"a." + b"b" * 300) == "a." + "b" * 253


def test_a_long_name_is_cut_between_characters():
    name = safe_name("é".encode() * 200 + b".txt")
    assert name == "é" * 125 + ".txt"
    assert len(name.encode()) <= 255


def take_all(*paths: tuple[str, ...], folds_names: bool = False) -> list[tuple[str, ...]]:
    unique = UniquePaths(paths, folds_names=folds_names)
    return [unique.take(path) for path in paths]


def test_the_second_file_of_a_path_is_renamed():
    assert take_all(("a.txt",), ("a.txt",), ("a.txt",)) == [("a.txt",), ("a.1.txt",), ("a.2.txt",)]
    assert take_all(("t", ".x"), ("t", ".x")) == [("t", ".x"), ("t", ".x.1")]


def test_a_new_name_is_not_one_that_is_taken():
    assert take_all(("a.1",), ("a",), ("a",)) == [("a.1",), ("a",), ("a.2",)]


def test_a_file_with_the_path_of_a_folder_is_renamed():
    assert take_all(("t", "a"), ("t", "a", "b")) == [("t", "a.1"), ("t", "a", "b")]


def test_the_same_name_in_two_folders_is_no_collision():
    paths = [("t", "a", "x"), ("t", "b", "x"), ("t", "x")]
    assert take_all(*paths) == paths


def test_case_only_matters_where_the_file_system_says_so():
    assert take_all(("a",), ("A",)) == [("a",), ("A",)]
    assert take_all(("a",), ("A",), folds_names=True) == [("a",), ("A.1",)]
    assert take_all(("é",), ("e\u0301",), folds_names=True) == [("é",), ("e\u0301.1",)]
    assert take_all(("t", "A", "x"), ("t", "a"), folds_names=True) == [("t", "A", "x"), ("t", "a.1")]


def test_a_new_name_is_cut_to_fit():
    (_, second) = take_all(("a" * 251 + ".mkv",), ("a" * 251 + ".mkv",))
    assert second == ("a" * 249 + ".1.mkv",)


def test_many_equal_paths_take_linear_work():
    paths = [("t", "same.txt")] * 20_000
    taken = take_all(*paths)
    assert len(set(taken)) == len(paths)
    assert taken[-1] == ("t", "same.19999.txt")
