"""The sdist and the wheel: complete, installable in an environment of their own, and working from there."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path

import pytest

import geventbt
from tests.documents import ROOT

PARTS = ("geventbt", "tests", "scripts", "docs")
IGNORED = shutil.ignore_patterns("__pycache__", "_build", ".*", "*.egg-info", "build", "dist")
NEEDS_SETUPTOOLS = 77
"""The version that knows SPDX licences, as in pyproject.toml."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source, so that building leaves nothing in it."""
    folder = tmp_path_factory.mktemp("packaging") / "source"
    return Path(shutil.copytree(ROOT, folder, ignore=IGNORED))


@pytest.fixture(scope="module")
def built(source: Path) -> dict[str, Path]:
    """The sdist, and a wheel that is built from it."""
    pytest.importorskip("build", reason="the package build is not installed")
    command = [sys.executable, "-m", "build", *without_isolation(), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    output = done.stdout + done.stderr
    if done.returncode and "No matching distribution found for setuptools" in output:
        pytest.skip(f"setuptools {NEEDS_SETUPTOOLS} or later is neither installed nor to be downloaded")
    assert done.returncode == 0, output
    (sdist,), (wheel,) = (source / "dist").glob("*.tar.gz"), (source / "dist").glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


def without_isolation() -> list[str]:
    """The option to build with the setuptools that is installed, if it is new enough; otherwise one is downloaded."""
    if importlib.util.find_spec("setuptools") and int(version("setuptools").partition(".")[0]) >= NEEDS_SETUPTOOLS:
        return ["--no-isolation"]
    return []


def test_the_sdist_has_all_that_its_tests_need(built: dict[str, Path], source: Path) -> None:
    with tarfile.open(built["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    files = {path.relative_to(source).as_posix() for part in PARTS for path in (source / part).rglob("*")}
    assert len(files) > 300
    assert files <= names
    assert {path.name for path in source.glob("*.md")} | {"LICENSE", "pyproject.toml", "setup.py"} <= names


def test_the_wheel_has_the_package_and_its_metadata(built: dict[str, Path], source: Path) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        fields = Parser().parsestr(archive.read(metadata).decode())
    modules = {path.relative_to(source).as_posix() for path in (source / "geventbt").rglob("*.py")}
    packed = {name for name in names if ".dist-info/" not in name}
    page = {path.relative_to(source).as_posix() for path in (source / "geventbt/web/static").iterdir()}
    assert packed == modules | page | {"geventbt/py.typed"}
    assert (fields["Name"], fields["Version"]) == ("geventbt", geventbt.__version__)
    assert (fields["License-Expression"], fields["License-File"]) == ("MIT", "LICENSE")


def test_it_works_where_it_is_installed(built: dict[str, Path], tmp_path: Path) -> None:
    """The wheel was made from the sdist, so what is missing in either is missing here."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    (own,) = environment.glob("lib/*/site-packages")
    # The dependencies are those of this environment; the package itself may be installed there, and must not count.
    (own / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--ignore-installed",
    ]
    subprocess.run([*pip, str(built["wheel"])], check=True)

    def call(*command: object) -> str:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            list(map(str, command)), cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert call(python, "-c", "import geventbt; print(geventbt.__file__)").startswith(str(own))
    command = environment / "bin" / "geventbt"
    assert call(command, "--version") == f"geventbt {geventbt.__version__}\n"
    assert "verified 1.0 MiB" in call(command, "demo", "--size", "1M", "--seeders", "1", "--quiet")


def test_the_readme_is_rendered_by_pypi() -> None:
    markdown = pytest.importorskip("readme_renderer.markdown", reason="readme-renderer is not installed")
    if markdown.render("text") is None:
        pytest.skip("readme-renderer is installed without its extra md")
    page = markdown.render((ROOT / "README.md").read_text())
    assert "<table>" in page
    assert "<img" not in page
