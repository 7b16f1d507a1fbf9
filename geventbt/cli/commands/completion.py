"""``geventbt completion``: a script for a shell, made from the argument parsers themselves."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator

from geventbt.cli import parsing
from geventbt.cli.errors import DONE

_EXAMPLES = """
bash: echo 'eval "$(geventbt completion bash)"' >> ~/.bashrc
zsh: geventbt completion zsh > ~/.zfunc/_geventbt   (a folder of your $fpath)
fish: geventbt completion fish > ~/.config/fish/completions/geventbt.fish
"""
_FILES = frozenset({"DATA", "DIR", "FILE", "FILE.torrent", "PATH", "SOURCE"})
"""The metavars of what is, or may be, a file or folder."""

_BASH = """_geventbt() {{
    local word command="" current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$word" in {commands_or}) command="$word"; break ;; esac
    done
    COMPREPLY=()
    case "$command $previous" in
{values}
    esac
    local words="{main_words}" choices=""
    case "$command" in
{words}
    esac
    if [[ "$current" == -* || -z "$command" ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    elif [[ -n "$choices" ]]; then
        COMPREPLY=($(compgen -W "$choices" -- "$current"))
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}}
complete -F _geventbt geventbt
"""

_ZSH = """#compdef geventbt
_geventbt() {{
    local context state line
    local -a commands=(
{commands}
    )
    _arguments -C {main_options} '1:command:->command' '*::argument:->arguments'
    case $state in
    command) _describe command commands ;;
    arguments)
        case $words[1] in
{cases}
        esac ;;
    esac
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _geventbt "$@"; else compdef _geventbt geventbt; fi
"""


def add_parser(commands: parsing.Commands) -> None:
    """Add the command."""
    parser = parsing.add_command(commands, "completion", "print a completion script for a shell", _EXAMPLES)
    parser.add_argument("shell", metavar="SHELL", choices=tuple(_SCRIPTS), help=", ".join(_SCRIPTS))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    print(_SCRIPTS[arguments.shell](arguments.parser), end="")
    return DONE


def _options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    return (action for action in parsing.actions_of(parser) if action.option_strings)


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    return (action for action in parsing.actions_of(parser) if not action.option_strings)


def _names(parser: argparse.ArgumentParser) -> str:
    return " ".join(name for action in _options(parser) for name in action.option_strings)


def _metavar(action: argparse.Action) -> str:
    return str(action.metavar or action.dest.upper())


def _choices(action: argparse.Action) -> list[str]:
    return [str(choice) for choice in action.choices or ()]


def _plain(text: str | None) -> str:
    """A help text without what means something to a shell or to its completion."""
    return re.sub(r"[\[\]:'\"`$\\%]", "", text or "")


def _bash(parser: argparse.ArgumentParser) -> str:
    commands = parsing.subparsers_of(parser)
    values = [
        f"        {_bash_patterns(name, action)}) {_bash_value(action)}; return ;;"
        for name, command in commands.items()
        for action in _options(command)
        if action.nargs != 0
    ]
    words = [
        f'        {name}) words="{_names(command)}" choices="{_choices_of_arguments(command)}" ;;'
        for name, command in commands.items()
    ]
    return _BASH.format(
        commands_or="|".join(commands),
        main_words=" ".join([*commands, _names(parser)]),
        values="\n".join(values),
        words="\n".join(words),
    )


def _bash_patterns(command: str, action: argparse.Action) -> str:
    return "|".join(f'"{command} {option}"' for option in action.option_strings)


def _choices_of_arguments(parser: argparse.ArgumentParser) -> str:
    return " ".join(choice for action in _arguments(parser) for choice in _choices(action))


def _bash_value(action: argparse.Action) -> str:
    if action.choices:
        return f'COMPREPLY=($(compgen -W "{" ".join(_choices(action))}" -- "$current"))'
    if _metavar(action) in _FILES:
        return 'compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current")'
    return ":"


def _zsh(parser: argparse.ArgumentParser) -> str:
    commands = parsing.subparsers_of(parser)
    return _ZSH.format(
        commands="\n".join(f"        '{name}:{_plain(command.description)}'" for name, command in commands.items()),
        main_options=" ".join(
            _zsh_option(action, name) for action in _options(parser) for name in action.option_strings
        ),
        cases="\n".join(_zsh_case(name, command) for name, command in commands.items()),
    )


def _zsh_case(name: str, command: argparse.ArgumentParser) -> str:
    specs = [_zsh_option(action, option) for action in _options(command) for option in action.option_strings]
    specs += [
        f"'{':' if action.nargs == '?' else ''}:{_plain(_metavar(action))}:{_zsh_value(action)}'"
        for action in _arguments(command)
    ]
    lines = " \\\n".join(f"            {spec}" for spec in specs)
    return f"        {name}) _arguments \\\n{lines} ;;"


def _zsh_option(action: argparse.Action, name: str) -> str:
    value = "" if action.nargs == 0 else f":{_plain(_metavar(action))}:{_zsh_value(action)}"
    again = "*" if isinstance(action.default, list) else ""
    return f"'{again}{name}[{_plain(action.help)}]{value}'"


def _zsh_value(action: argparse.Action) -> str:
    if action.choices:
        return f"({' '.join(_choices(action))})"
    return "_files" if _metavar(action) in _FILES else " "


def _fish(parser: argparse.ArgumentParser) -> str:
    commands = parsing.subparsers_of(parser)
    lines = ["complete -c geventbt -f"]
    lines += [
        f"complete -c geventbt -n __fish_use_subcommand -a {name} -d '{_plain(command.description)}'"
        for name, command in commands.items()
    ]
    lines += [f"complete -c geventbt -n __fish_use_subcommand {_fish_option(action)}" for action in _options(parser)]
    for name, command in commands.items():
        where = f"complete -c geventbt -n '__fish_seen_subcommand_from {name}'"
        for action in _arguments(command):
            if action.choices:
                lines.append(f"{where} -a '{' '.join(_choices(action))}'")
            elif _metavar(action) in _FILES:
                lines.append(f"{where} -F")
        lines += [f"{where} {_fish_option(action)}" for action in _options(command)]
    return "\n".join(dict.fromkeys(lines)) + "\n"


def _fish_option(action: argparse.Action) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in action.option_strings)
    value = ""
    if action.choices:
        value = f" -x -a '{' '.join(_choices(action))}'"
    elif action.nargs != 0:
        value = " -r -F" if _metavar(action) in _FILES else " -x"
    return f"{names}{value} -d '{_plain(action.help)}'"


_SCRIPTS: dict[str, Callable[[argparse.ArgumentParser], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
