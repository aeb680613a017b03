"""The completion scripts of bash, zsh and fish, from what may be typed."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Option(NamedTuple):
    """An option, or an argument by its place.

    Attributes:
      flags: as "--out"; none of an argument by its place.
      name: of its value.
      help: what it is.
      valued: whether a value follows.
      path: whether that is a path.
      choices: the words that it may be; none where it may be others.
    """

    flags: tuple[str, ...]
    name: str
    help: str
    valued: bool
    path: bool
    choices: tuple[str, ...]


class Typed(NamedTuple):
    """A command, and what may follow it."""

    name: str
    help: str
    options: tuple[Option, ...]


def bash(top: Sequence[Option], commands: Sequence[Typed]) -> str:
    """The script for bash, 3.2 and newer.

    Where it gives no word, bash completes paths; of a value that is neither a path nor
    one of some words, newer versions complete nothing.
    """
    names = [command.name for command in commands]
    values = [
        f'        "{command.name} {flag}") {_after_in_bash(option)} ;;'
        for command in commands
        for option in command.options
        for flag in option.flags
        if option.valued
    ]
    words = [_words_in_bash("", top, names)]
    words += [_words_in_bash(each.name, each.options, _placed(each)) for each in commands]
    return _BASH.format(names="|".join(names), values="\n".join(values), words="\n".join(words))


def _after_in_bash(option: Option) -> str:
    if option.choices:
        words = " ".join(option.choices)
        return f'COMPREPLY=($(compgen -W "{words}" -- "$current")); return'
    return "return" if option.path else "compopt +o default 2>/dev/null; return"


def _words_in_bash(name: str, options: Sequence[Option], words: Sequence[str]) -> str:
    flags = " ".join(_flags(options))
    return f'        "{name}") flags="{flags}"; words="{" ".join(words)}" ;;'


def _placed(command: Typed) -> list[str]:
    """The words that may stand after a command; its flags where nothing else may."""
    by_place = [option for option in command.options if not option.flags]
    return (
        [word for each in by_place for word in each.choices]
        if by_place
        else _flags(command.options)
    )


def _flags(options: Sequence[Option]) -> list[str]:
    return [flag for option in options for flag in option.flags]


def zsh(top: Sequence[Option], commands: Sequence[Typed]) -> str:
    """The script for zsh, to be read by a shell or to lie among its functions."""
    named = [f"                {_quoted(f'{c.name}:{_plain(c.help)}')}" for c in commands]
    cases = [
        f"                {command.name})\n                    _arguments \\\n"
        + " \\\n".join(f"                        {each}" for each in _of_zsh(command.options))
        + "\n                    ;;"
        for command in commands
    ]
    return _ZSH.format(
        top=" \\\n".join(f"        {each}" for each in _of_zsh(top)),
        named="\n".join(named),
        cases="\n".join(cases),
    )


def _of_zsh(options: Sequence[Option]) -> list[str]:
    found = []
    places = 0
    for option in options:
        action = f"({' '.join(option.choices)})" if option.choices else "_files" * option.path
        value = f":{_plain(option.name)}:{action or ' '}" if option.valued else ""
        if not option.flags:
            places += 1
            found.append(_quoted(f"{places}{value}"))
        found += [_quoted(f"{flag}[{_plain(option.help)}]{value}") for flag in option.flags]
    return found


def _plain(text: str) -> str:
    """A text between the marks of zsh's specifications."""
    for mark in "\\[]:":
        text = text.replace(mark, f"\\{mark}")
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def fish(top: Sequence[Option], commands: Sequence[Typed]) -> str:
    """The script for fish."""
    lines = ["# Completion of jaxcompress in fish.", "complete -c jaxcompress -f"]
    lines += [_of_fish("__fish_use_subcommand", option) for option in top]
    for name, help, options in commands:
        told = _quoted_in_fish(help)
        lines.append(f"complete -c jaxcompress -n __fish_use_subcommand -a {name} -d {told}")
        seen = f"'__fish_seen_subcommand_from {name}'"
        lines += [_of_fish(seen, option) for option in options]
    return "\n".join(lines)


def _of_fish(when: str, option: Option) -> str:
    words = ["complete", "-c", "jaxcompress", "-n", when]
    words += [f"-l {each[2:]}" if each[1] == "-" else f"-s {each[1:]}" for each in option.flags]
    if option.valued and option.flags:
        words.append("-r" if option.path else "-x")
    if option.path:
        words.append("-F")
    if option.choices:
        words += ["-a", _quoted_in_fish(" ".join(option.choices))]
    return " ".join([*words, "-d", _quoted_in_fish(option.help)])


def _quoted_in_fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS: Mapping[str, Callable[[Sequence[Option], Sequence[Typed]], str]] = {
    "bash": bash,
    "zsh": zsh,
    "fish": fish,
}

_BASH = """# Completion of jaxcompress in bash.
_jaxcompress() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
    local command="" flags="" words="" word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$word" in
            {names}) command="$word"; break ;;
        esac
    done
    COMPREPLY=()
    case "$command $previous" in
{values}
    esac
    case "$command" in
{words}
    esac
    [[ "$current" == -* ]] && words="$flags"
    [[ -n "$words" ]] && COMPREPLY=($(compgen -W "$words" -- "$current"))
    return 0
}}
complete -o bashdefault -o default -F _jaxcompress jaxcompress"""

_ZSH = """#compdef jaxcompress
# Completion of jaxcompress in zsh.
_jaxcompress() {{
    local context state state_descr line
    typeset -A opt_args
    _arguments -C \\
{top} \\
        '1:command:->command' \\
        '*::argument:->arguments'
    case $state in
        command)
            local -a commands=(
{named}
            )
            _describe command commands
            ;;
        arguments)
            case $words[1] in
{cases}
            esac
            ;;
    esac
}}
if [[ $funcstack[1] == _jaxcompress ]]; then
    _jaxcompress "$@"
else
    compdef _jaxcompress jaxcompress
fi"""
