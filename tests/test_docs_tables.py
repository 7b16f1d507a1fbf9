"""The documentation's tables, commands, options and links are those of the code."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

import geventbt
from geventbt import signals
from geventbt.cli import errors
from geventbt.cli.main import make_parser, run
from geventbt.cli.parsing import subparsers_of
from tests.docs_tables import defaults_table, limits_table
from tests.documents import DOCUMENTS, ROOT
from tests.public_names import public_extensions

COMMAND_LINE = DOCUMENTS["guides/command-line"]
EXTENSIONS = {extension.name: extension for extension in public_extensions()}
COMMANDS = sorted(
    {command for document in DOCUMENTS.values() for command in re.findall(r"^geventbt (\w.*)$", document.text, re.M)}
)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_and_option_exists(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, _, options = line.partition(" ")
    with pytest.raises(SystemExit) as caught:
        run([command, "--help"])
    assert caught.value.code == 0
    usage = capsys.readouterr().out
    for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", options):
        assert option in usage


def test_every_command_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", COMMAND_LINE.sections["Command line"], re.MULTILINE)
    assert {name for name, _ in rows} == set(subcommands()), (
        "the table of docs/guides/command-line.md has every command"
    )


def subcommands() -> list[str]:
    """The commands of the command line."""
    return list(subparsers_of(make_parser()))


def test_the_service_is_started_with_options_that_exist() -> None:
    (line,) = re.findall(r"^ExecStart=\S*geventbt (.*)$", DOCUMENTS["guides/service"].text, re.MULTILINE)
    # The file is not there.
    arguments = make_parser().parse_args(line.replace("--config /etc/geventbt.toml", "--no-lsd").split())
    assert arguments.command == "daemon"


def test_the_options_without_a_variable_are_those_of_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEVENTBT_OUTPUT", "/downloads")
    text = " ".join(COMMAND_LINE.sections["Environment variables"].split())
    (commands,) = re.findall(r"Only `-o` of `(\w+)`, `(\w+)` and `(\w+)` has none", text)
    assert [make_parser().parse_args([command, "x"]).output for command in commands] == [None] * 3
    assert make_parser().parse_args(["download", "x"]).output == "/downloads"


def test_the_guide_names_the_variables_that_the_library_reads() -> None:
    modules = (path for path in (ROOT / "geventbt").rglob("*.py") if "cli" not in path.parts)
    sources = [path.read_text() for path in modules]
    variables = {name for source in sources for name in re.findall(r'"(GEVENTBT_[A-Z_]+[A-Z])"', source)}
    assert len(variables) >= 4
    assert [name for name in variables if name not in COMMAND_LINE.sections["Environment variables"]] == []


def test_the_completion_is_set_up_as_the_help_says(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["completion", "--help"])
    shown = capsys.readouterr().out
    text = COMMAND_LINE.sections["Shell completion"]
    commands = re.findall(r"^(.*geventbt completion \w+[^#\n]*?)(?:  #.*)?$", text, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert command in shown


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", COMMAND_LINE.sections["For programs"], re.MULTILINE)}
    assert codes == {value for name, value in vars(errors).items() if name.isupper()} | {2}


@pytest.mark.parametrize(("page", "table"), [("guides/defaults", defaults_table), ("guides/limits", limits_table)])
def test_the_tables_are_those_of_the_code(page: str, table: Callable[[], str]) -> None:
    lines = [line for line in DOCUMENTS[page].text.splitlines() if line.startswith("|")]
    assert lines == table().splitlines(), "python tests/docs_tables.py writes the tables as they should be"


@pytest.mark.parametrize(
    "heading", ["From bittorrent-protocol", "From ut_metadata, ut_pex and lt_donthave", "From Peerface"]
)
def test_what_the_migration_tables_refer_to_exists(heading: str) -> None:
    text = DOCUMENTS["migration"].sections[heading]
    rows = [re.split(r" \| ", line) for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    for theirs, ours, *_ in rows:
        for code in re.findall(r"`([^`]*)`", ours):
            assert exists(code), f"{theirs}: there is no {code}"


def exists(code: str) -> bool:
    """Whether the names that a piece of code begins with are there: a method, an attribute or a signal."""
    names = re.findall(r"\b(wire|server|geventbt)\.(\w+)", code)
    owners = {"wire": geventbt.Wire, "server": geventbt.PeerServer, "geventbt": geventbt}
    for owner, name in names:
        known = EXTENSIONS.keys() | {f"on_{signal}" for signal in signals.WIRE_SIGNALS}
        if not (hasattr(owners[owner], name) or (owner == "wire" and name in known)):
            return False
    for name, attribute in re.findall(r"\bwire\.(ut_\w+|lt_\w+)\.(\w+)", code):
        if not (hasattr(EXTENSIONS[name], attribute) or attribute in (EXTENSIONS[name].__doc__ or "")):
            return False
    for owner, name in re.findall(r'\b(\w+)\.on\("(\w+)"', code):
        own = EXTENSIONS[owner].signal_names if owner in EXTENSIONS else ()
        if name not in {*signals.WIRE_SIGNALS, *signals.SERVER_SIGNALS, *own}:
            return False
    return bool(names) or is_known(code.partition("(")[0])


def is_known(name: str) -> bool:
    """Whether a bare name is a signal, a hook of an extension, an exported name, or an argument with its value."""
    return (
        name in signals.WIRE_SIGNALS
        or hasattr(geventbt.Extension, name)
        or name in geventbt.__all__
        or re.fullmatch(r'(encryption=)?"\w+"', name) is not None
    )


def test_the_signals_of_the_guide_are_all_and_have_the_fields_that_it_says() -> None:
    rows = re.findall(
        r"^\| (.*`.*) \| (.*) ?\|$", DOCUMENTS["guides/wire"].sections["Signals and messages"], re.MULTILINE
    )
    shown: dict[str, str] = {}
    for names, fields in rows:
        for name in re.findall(r"`(\w+)`", names):
            shown[name] = ", ".join(re.findall(r"`(\w+)`", fields))
    known = {**signals.WIRE_SIGNALS, **signals.SERVER_SIGNALS}
    assert shown.keys() == known.keys(), "the table of docs/guides/wire.md has every signal"
    for name, fields in shown.items():
        doc = str(known[name].__doc__)
        assert name == "stopping" or name == "stop" or not fields or doc.startswith(f"{fields}: "), (name, doc)


def anchors_of(text: str) -> set[str]:
    """The anchors of the headings of a document."""
    headings = re.findall(r"^#+ (.*)$(?=\n\n)", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_relative_link_leads_to_a_file_and_a_heading(name: str) -> None:
    document = DOCUMENTS[name]
    for link in re.findall(r"\]\(([^)\s]+)\)", document.text):
        if urlsplit(link).scheme:
            continue
        target, _, anchor = link.partition("#")
        path = (document.path.parent / target).resolve() if target else document.path
        assert path.is_file(), f"{name}: {link}"
        assert not anchor or anchor in anchors_of(path.read_text()), f"{name}: {link}"


def test_every_page_that_the_readme_links_to_is_there() -> None:
    pages = re.findall(r"readthedocs\.io/en/latest/([\w/-]+)\.html", DOCUMENTS["README"].text)
    assert len(pages) > 10
    assert set(pages) <= DOCUMENTS.keys()


def test_the_readme_and_the_index_name_every_guide() -> None:
    guides = {name for name in DOCUMENTS if name.startswith("guides/")}
    assert [name for name in guides if f"/latest/{name}.html" not in DOCUMENTS["README"].text] == []
    assert [name for name in guides if f"\n{name}\n" not in DOCUMENTS["index"].text] == []


def test_the_readme_is_short_and_has_no_link_that_works_only_in_the_repository() -> None:
    text = DOCUMENTS["README"].text
    assert len(text.splitlines()) <= 200
    assert all(urlsplit(link).scheme for link in re.findall(r"\]\(([^)\s]+)\)", text))


def test_every_public_name_is_in_the_reference() -> None:
    reference = "\n".join(document.text for name, document in DOCUMENTS.items() if name.startswith("reference/"))
    documented = set(re.findall(r":: geventbt\.(\w+)", reference))
    in_modules = {name for name in geventbt.__all__ if hasattr(geventbt.errors, name)}
    missing = set(geventbt.__all__) - {"__version__"} - documented - in_modules
    assert missing == set(), "add an autoclass or autofunction to a page of docs/reference"


def test_the_guide_names_every_extension_that_is_built_in() -> None:
    text = DOCUMENTS["guides/extensions"].text
    assert [extension.__name__ for extension in EXTENSIONS.values() if f"`{extension.__name__}`" not in text] == []


def test_every_program_that_is_named_is_there() -> None:
    scripts = {
        script
        for document in DOCUMENTS.values()
        for script in re.findall(r"\b(?:scripts|tests)/\w+\.py", document.text)
    }
    assert len(scripts) >= 8
    for script in scripts:
        assert (ROOT / script).is_file()
