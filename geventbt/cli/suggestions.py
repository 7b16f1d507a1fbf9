"""What a person may have meant by an option or command that does not exist: the nearest of ours, or the one that does
what aria2, rqbit, transmission-cli and others call so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

_OPTIONS: Mapping[str, Sequence[str]] = {
    # aria2
    "-d": ("--output", "--limit-down"),
    "--dir": ("--output",),
    "-O": ("--output",),
    "--index-out": ("--output",),
    "-u": ("--limit-up",),
    "--max-download-limit": ("--limit-down",),
    "--max-overall-download-limit": ("--limit-down",),
    "--max-upload-limit": ("--limit-up",),
    "--max-overall-upload-limit": ("--limit-up",),
    "--bt-max-peers": ("--max-peers",),
    "--listen-port": ("--port",),
    "--bt-tracker": ("--tracker",),
    "--select-file": ("--select",),
    "-S": ("--list",),
    "--show-files": ("--list",),
    "--bt-stop-timeout": ("--stall-timeout",),
    "-V": ("--check",),
    "--check-integrity": ("--check",),
    "--allow-overwrite": ("--overwrite",),
    "--on-download-complete": ("--on-complete",),
    "--on-bt-download-complete": ("--on-complete",),
    "--bt-require-crypto": ("--encryption",),
    "--bt-force-encryption": ("--encryption",),
    "--enable-dht": ("--no-dht",),
    "--bt-enable-lpd": ("--no-lsd",),
    "--all-proxy": ("--proxy",),
    "--bt-prioritize-piece": ("--sequential",),
    # rqbit
    "--output-folder": ("--output",),
    "-r": ("--select",),
    "--only-files": ("--select",),
    "--only-files-matching-regex": ("--select",),
    "-l": ("--list", "--piece-length"),
    "--initial-peers": ("--peer",),
    "--ratelimit-download": ("--limit-down",),
    "--ratelimit-upload": ("--limit-up",),
    "--disable-dht": ("--no-dht",),
    "--disable-local-service-discovery": ("--no-lsd",),
    # transmission-cli, -create and -show
    "-w": ("--output",),
    "--download-dir": ("--output",),
    "--downlimit": ("--limit-down",),
    "--uplimit": ("--limit-up",),
    "-p": ("--port", "--private"),
    "-f": ("--on-complete",),
    "--finish": ("--on-complete",),
    "-er": ("--encryption",),
    "--encryption-required": ("--encryption",),
    "-ep": ("--encryption",),
    "--encryption-preferred": ("--encryption",),
    "-et": ("--encryption",),
    "--utp": ("--transport",),
    "--no-utp": ("--transport",),
    "--encryption-tolerated": ("--encryption",),
    "-b": ("--ip-filter",),
    "--blocklist": ("--ip-filter",),
    "-M": ("--no-port-mapping",),
    "--no-portmap": ("--no-port-mapping",),
    "--outfile": ("--output",),
    "--piecesize": ("--piece-length",),
    "-c": ("--comment",),
    "-t": ("--tracker",),
    # webtorrent, mktorrent, ctorrent and the like
    "--out": ("--output",),
    "-s": ("--select", "--source"),
    "--save-path": ("--output",),
    "-P": ("--output",),
    "-a": ("--tracker",),
    "--announce": ("--tracker",),
    "-n": ("--name",),
    "--max-connections": ("--max-peers",),
    "--on-done": ("--on-complete",),
}
_COMMANDS: Mapping[str, str] = {
    **dict.fromkeys(("get", "fetch", "leech", "dl", "add", "start", "pull"), "download"),
    **dict.fromkeys(("share", "serve", "upload", "host"), "seed"),
    **dict.fromkeys(("make", "new", "mktorrent", "build"), "create"),
    **dict.fromkeys(("show", "list", "ls", "inspect", "metadata", "files", "print"), "info"),
    **dict.fromkeys(("check", "hash", "hashcheck", "recheck", "test"), "verify"),
    **dict.fromkeys(("stream", "play"), "cat"),
    **dict.fromkeys(("link", "url"), "magnet"),
    **dict.fromkeys(("ping", "handshake", "connect"), "peer"),
}
_CUTOFF = 0.6


def option_hint(option: str, known: Sequence[Sequence[str]]) -> str:
    """Say which option may have been meant.

    Args:
        option: what was given, perhaps with a value behind an equals sign.
        known: all names of each option of the command.

    Returns:
        "did you mean --this or --that?", or nothing.
    """
    name = option.partition("=")[0]
    foreign = _OPTIONS.get(name) or (_OPTIONS.get(name[:2]) if not name.startswith("--") else None) or ()
    found = [names for names in known if set(names) & set(foreign)]
    if not found:
        long = [flag for names in known for flag in names if flag.startswith("--")]
        near = _nearest(name, long)
        found = [names for names in known if set(names) & set(near)]
    return _did_you_mean(", ".join(names) for names in found)


def command_hint(word: str, known: Iterable[str]) -> str:
    """Say which command may have been meant by a word; that of a download for what looks like a torrent."""
    known = list(known)
    if word.startswith(("magnet:", "http://", "https://")) or word.endswith(".torrent"):
        return _did_you_mean(["download SOURCE"])
    near = _nearest(word, known)
    foreign = [_COMMANDS[word]] if _COMMANDS.get(word) in known else []
    return _did_you_mean(foreign or near) or f"the commands are {', '.join(known)}"


def _nearest(word: str, known: Sequence[str]) -> list[str]:
    """The one of several words that is most like a word, if any is."""
    # Only where there is a mistake.
    from difflib import get_close_matches

    return get_close_matches(word, known, 1, _CUTOFF)


def _did_you_mean(names: Iterable[str]) -> str:
    joined = " or ".join(names)
    return f"did you mean {joined}?" if joined else ""
