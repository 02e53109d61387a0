"""What the documents name is there: files, commands, options, make targets, environment variables.

Every check is a function over text, so that the tests at the end of the file can show each one failing. Only what is
written as code counts: spans between backticks, and indented or fenced lines.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path

import pytest

from worldstream.realtime import cli
from worldstream.realtime.config import ServerConfig

ROOT = Path(__file__).resolve().parents[1]
HISTORY = "CHANGELOG.md"  # says what was, not what is
FOREIGN = {"--ftz", "--tool", "uploads.create_ephemeral"}  # of other people's programs
OURS = (".py", ".md", ".js", ".cu", ".sh", ".css", ".html")  # endings that other people's files in our documents lack
# commands with a command line of their own, and the file that it is in
ELSEWHERE = {
    "train": "worlds/training/cli.py",
    "keys": "realtime/governance/commands.py",
    "inspect": "realtime/governance/commands.py",
}
NAME = re.compile(r"(?<![\w./~<-])[\w*-][\w.*-]*(?:/[\w.*-]+)*")  # of a file, or of anything
MEMBER = re.compile(r"([A-Za-z_]\w*)\.([A-Za-z_]\w*)(?:\(\))?")
OPTION = re.compile(r"--[a-z][a-z0-9-]+")


def code_of(text: str) -> Iterator[str]:
    """Every piece of a Markdown text that is written as code: the lines of its blocks, then its spans."""
    fenced, prose = False, list[str]()
    for line in text.splitlines():
        block = fenced or line.startswith("    ")
        if line.lstrip().startswith("```"):
            fenced, block = not fenced, True
        elif block:
            yield line.strip()
        prose.append("" if block else line)
    for span in re.findall(r"`([^`\n]+(?:\n[^`\n]+)*)`", "\n".join(prose)):
        yield " ".join(span.split())


def links_of(text: str) -> list[str]:
    """Where the links of a Markdown text lead on this machine, without the place in the page."""
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link.partition("#")[0] for link in found if "://" not in link and not link.startswith(("#", "mailto:"))]


def lost_links(text: str, folder: Path) -> list[str]:
    """Links that lead nowhere from a page in `folder`."""
    return [link for link in links_of(text) if not (folder / link).exists()]


def lost_files(text: str, files: Iterable[str]) -> list[str]:
    """Names of files of ours, whole or the end of a path, that no file has."""
    known = list(files)
    named = [name for code in code_of(text) for name in NAME.findall(code) if name.endswith(OURS)]
    return [name for name in named if not any(fnmatch(file, name) or fnmatch(file, f"*/{name}") for file in known)]


def lost_options(text: str, of_commands: Mapping[str, set[str]], of_files: Mapping[str, str]) -> list[str]:
    """Options that a `worldstream` command, or a Python file of ours, does not take; by themselves, that none takes.
    `of_commands` maps "models add" to its options, `of_files` a file to its source."""
    lost = []
    anywhere = {option for options in of_commands.values() for option in options} | FOREIGN
    for code in code_of(text):
        words = code.split()
        if (alone := OPTION.match(code)) and alone[0] not in anywhere:
            lost += [] if any(f'"{alone[0]}"' in source for source in of_files.values()) else [alone[0]]
        for at, word in enumerate(words):
            rest = [found[0] for each in words[at + 1 :] if (found := OPTION.match(each))]
            if word.rpartition("/")[2] == "worldstream" and at + 1 < len(words) and words[at + 1][0].isalpha():
                names = [" ".join(words[at + 1 : at + 3]), words[at + 1]]
                known = next((of_commands[name] for name in names if name in of_commands), None)
                lost += [f"{words[at + 1]} {name}" for name in rest if name not in (known or set())]
                lost += [] if known is not None else [words[at + 1]]
            elif word in of_files and word.endswith(".py"):
                runs_another = any(after in of_files and after.endswith(".py") for after in words[at + 1 :])
                own = [] if runs_another else rest
                lost += [f"{word} {name}" for name in own if f'"{name}"' not in of_files[word]]
    return lost


def lost_members(text: str, of_files: Mapping[str, str]) -> list[str]:
    """`module.name` and `Class.name` spans whose module or class is ours and has no such name."""
    homes: dict[str, list[str]] = {}
    for file, source in of_files.items():
        for owner in (Path(file).stem, *re.findall(r"^class (\w+)", source, re.MULTILINE)):
            homes.setdefault(owner, []).append(source)
    lost = []
    for code in code_of(text):
        match = MEMBER.fullmatch(code)
        if match and code not in FOREIGN and f".{match[2]}" not in OURS and match[1] in homes:
            lost += [] if any(re.search(rf"\b{match[2]}\b", source) for source in homes[match[1]]) else [code]
    return lost


def lost_targets(text: str, makefile: str) -> list[str]:
    """Targets of `make` that the Makefile does not have."""
    named = [match[1] for code in code_of(text) if (match := re.match(r"make ([a-z]+)\b", code))]
    return [name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)]


def lost_variables(text: str, sources: str) -> list[str]:
    """`WORLDSTREAM_…` variables that nothing reads, by their whole name or by the setting's."""
    named = re.findall(r"WORLDSTREAM_([A-Z0-9_]*[A-Z0-9])", text)
    return [name for name in named if f"WORLDSTREAM_{name}" not in sources and f'"{name.lower()}"' not in sources]


def parsers_of(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """(command, its parser) of a parser and of those below it."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner, below in action.choices.items():
                yield from parsers_of(below, f"{name} {inner}".strip())


def options_of(parser: argparse.ArgumentParser) -> dict[str, set[str]]:
    """Every command and its options."""
    return {name: {o for a in each._actions for o in a.option_strings} for name, each in parsers_of(parser)}


@pytest.fixture(scope="module")
def files() -> list[str]:
    """Everything that is committed or would be."""
    asked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def documents(files: list[str]) -> dict[str, str]:
    """Every page of the project, by its path."""
    return {name: (ROOT / name).read_text() for name in files if name.endswith(".md") and name != HISTORY}


@pytest.fixture(scope="module")
def sources(files: list[str]) -> dict[str, str]:
    """Python, shell and make files, by their paths."""
    names = (name for name in files if name.endswith((".py", ".sh")) or name in ("Makefile", ".ci/run"))
    return {name: (ROOT / name).read_text() for name in names if not name.startswith("tests/")}


def gathered(found: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {name: lost for name, lost in found.items() if lost}


def test_links_lead_somewhere(documents: dict[str, str]) -> None:
    assert gathered({name: lost_links(text, (ROOT / name).parent) for name, text in documents.items()}) == {}


def test_files_that_are_named_exist(documents: dict[str, str], files: list[str]) -> None:
    assert gathered({name: lost_files(text, files) for name, text in documents.items()}) == {}


def test_commands_take_the_options_that_are_named(documents: dict[str, str], sources: dict[str, str]) -> None:
    commands = options_of(cli._parser())
    for name, file in ELSEWHERE.items():
        commands[name] = set(re.findall(r'"(--[a-z-]+)"', sources[file])) | {"--help"}
    assert gathered({name: lost_options(text, commands, sources) for name, text in documents.items()}) == {}


def test_functions_that_are_named_exist(documents: dict[str, str], sources: dict[str, str]) -> None:
    assert gathered({name: lost_members(text, sources) for name, text in documents.items()}) == {}


def test_defaults_that_the_help_states_are_those_of_the_settings() -> None:
    _, serve = next(found for found in parsers_of(cli._parser()) if found[0] == "serve")
    config, stated = ServerConfig(), 0
    usual = {field.name: getattr(config, field.name) for field in fields(config)}
    usual["task_processes"] = config.tasks.heavy
    for action in serve._actions:
        said = re.search(r"\bdefault ([\w.]+)", action.help or "")
        if said:
            assert str(usual[action.dest]) == said[1].rstrip("."), action.dest
            stated += 1
    assert stated >= 6


def test_make_knows_its_targets(documents: dict[str, str], sources: dict[str, str]) -> None:
    assert gathered({name: lost_targets(text, sources["Makefile"]) for name, text in documents.items()}) == {}


def test_variables_are_read(documents: dict[str, str], sources: dict[str, str]) -> None:
    together = "\n".join(sources.values())
    assert gathered({name: lost_variables(text, together) for name, text in documents.items()}) == {}


# Each check can fail:


def test_link_check(tmp_path: Path) -> None:
    (tmp_path / "there.md").touch()
    text = "[a](there.md#place) [b](https://example.org/x) ![c](lost.png) [d](#here)"
    assert lost_links(text, tmp_path) == ["lost.png"]


def test_file_check() -> None:
    text = "`worlds/core.py` `core.py` `cuda/*.cu` `FILE.png` `walk.mp4` lost.py `python benchmarks/lost.py --quick`\n"
    text += "    .venv/bin/python gone/away.py\n"
    known = ["worlds/core.py", "kernels/cuda/i420.cu"]
    assert lost_files(text, known) == ["gone/away.py", "benchmarks/lost.py"]


def test_option_check() -> None:
    commands = {"serve": {"--port"}, "models add": {"--as"}}
    benchmarks = {"benchmarks/soak.py": 'add_argument("--minutes")'}
    right = "`worldstream serve --port 1` `.venv/bin/worldstream\nmodels add X --as Y`\n"
    right += "    python benchmarks/soak.py --minutes 5\n"
    assert lost_options(right, commands, benchmarks) == []
    wrong = "`worldstream serve --prot 1` `worldstream fly`\n    worldstream models add --ass\n"
    wrong += "```\npython benchmarks/soak.py --hours=5\n```\n"
    wrong += "`--port` or `--harbour`"
    lost = ["models --ass", "benchmarks/soak.py --hours", "serve --prot", "fly", "--harbour"]
    assert lost_options(wrong, commands, benchmarks) == lost


def test_member_check() -> None:
    sources = {"kernels/build.py": "def status(): ...", "worlds/cache.py": "class Ring:\n    def keep(self): ..."}
    text = "`build.status()` `build.away` `Ring.keep` `Ring.lost` `numpy.zeros` `away.py`"
    assert lost_members(text, sources) == ["build.away", "Ring.lost"]


def test_target_and_variable_check() -> None:
    assert lost_targets("`make serve` and `make tea`, make believe", "serve: ## start\n") == ["tea"]
    known = 'setting("dubbing_url") os.environ["WORLDSTREAM_PORT"]'
    named = "`WORLDSTREAM_PORT` `WORLDSTREAM_DUBBING_URL` `WORLDSTREAM_…` `WORLDSTREAM_COLOUR=1`"
    assert lost_variables(named, known) == ["COLOUR"]


def test_options_are_read_from_a_parser() -> None:
    parser = argparse.ArgumentParser()
    below = parser.add_subparsers().add_parser("models").add_subparsers().add_parser("add")
    below.add_argument("--as")
    assert options_of(parser)["models add"] >= {"--as", "--help"}
