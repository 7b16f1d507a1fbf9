"""Folders that are named from outside stay inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from geventbt.service.folders import inside


def test_a_folder_and_what_is_in_it_may_be_named(tmp_path: Path) -> None:
    assert inside(tmp_path, [tmp_path]) == str(tmp_path)
    assert inside(tmp_path / "a" / "b", ["/nowhere", tmp_path]) == str(tmp_path / "a" / "b")
    assert inside("/anything", ["/"]) == "/anything"


@pytest.mark.parametrize("name", ["{}x", "{}/../other", "relative", "", "/etc", "{}/link/x", "{}/a\0b"])
def test_others_may_not(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError):
        inside(name.format(tmp_path / "data"), [tmp_path / "data"])
