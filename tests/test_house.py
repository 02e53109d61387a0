"""The house rules that are about files rather than imports: names, sizes, versions, packaging, hosts."""

import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

import worldstream

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("realtime", "worlds", "avatars", "kernels", "clients")
MAX_LINES = 400
SOURCES = {".py", ".js", ".css", ".html", ".cu", ".cuh", ".sh"}
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "types", "misc", "manager"}
# Where packages come from is the installer's configuration, not ours. Joined here so that this file passes too.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("pypi", "nvidia", "com"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("deb", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("security", "debian", "org"),
        ("conda", "anaconda", "org"),
        ("proxy", "golang", "org"),
    ]
)


def files_of_the_project() -> list[Path]:
    """Everything that is committed or would be, relative to the root; ignored files and links are not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    paths = (Path(name) for name in listed.split("\0") if name)
    return sorted(path for path in paths if (ROOT / path).is_file())


def text_of(path: Path) -> str | None:
    """The file as text, or None if it is binary."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def vague(paths: Iterable[Path]) -> list[Path]:
    """Files and folders named for nothing in particular."""
    return [path for path in paths if any(part.split(".")[0] in VAGUE_NAMES for part in path.parts)]


def too_long(path: Path, text: str) -> bool:
    """Whether a source file has outgrown one reading."""
    return path.suffix in SOURCES and len(text.splitlines()) > MAX_LINES


def named_hosts(text: str) -> list[str]:
    """Package registries that the text names."""
    return [host for host in REGISTRY_HOSTS if host in text]


def newest_release(changelog: str) -> str | None:
    """The version of the topmost dated heading, `## [1.2.3] - 2026-01-31`; None without one."""
    match = re.search(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", changelog, re.MULTILINE)
    return match[1] if match else None


def unshipped(paths: Iterable[Path], globs: dict[str, list[str]]) -> Iterator[Path]:
    """Data files in the five folders that no package-data glob takes into the wheel.

    Configuration of our own checks and documents need not be shipped.
    """
    for path in paths:
        if path.parts[0] not in FOLDERS or path.suffix in {".py", ".md"} or path.name == "jsconfig.json":
            continue
        package = ".".join(["worldstream", *path.parts[:-1]])
        if not any(fnmatch(path.name, glob) for glob in [*globs.get("*", []), *globs.get(package, [])]):
            yield path


def loose_pins(requirements: Iterable[str]) -> list[str]:
    """Requirements that do not name one exact version, for whichever machines they are."""
    return [
        line
        for line in requirements
        if not re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z0-9,]+\])?==[0-9][0-9A-Za-z.]*(; .+)?", line)
    ]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """pyproject.toml, parsed."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_files_are_named_for_nouns_of_the_field() -> None:
    assert vague(files_of_the_project()) == []


def test_no_file_is_too_long() -> None:
    assert [path for path in files_of_the_project() if too_long(path, text_of(path) or "")] == []


def test_no_file_names_a_registry() -> None:
    found = {str(path): named_hosts(text_of(path) or "") for path in files_of_the_project()}
    assert {path: hosts for path, hosts in found.items() if hosts} == {}


def test_changelog_and_package_agree() -> None:
    assert newest_release((ROOT / "CHANGELOG.md").read_text()) == worldstream.__version__


def test_every_data_file_is_shipped(project: dict[str, Any]) -> None:
    assert list(unshipped(files_of_the_project(), project["tool"]["setuptools"]["package-data"])) == []


def test_tools_are_pinned(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    assert loose_pins(extras["test"] + extras["dev"]) == []


def test_the_torch_that_is_set_up_is_one_we_allow(project: dict[str, Any]) -> None:
    asked = re.search(r"^torch_version=(\d+)\.(\d+)\.\d+$", (ROOT / "scripts/setup.sh").read_text(), re.MULTILINE)
    assert asked
    extras = project["project"]["optional-dependencies"]
    ranges = {line for lines in extras.values() for line in lines if line.startswith("torch>")}
    assert len(ranges) == 1, f"server and train must agree, got {ranges}"
    allowed = re.fullmatch(r"torch>=2\.(\d+),<2\.(\d+)", ranges.pop())
    assert allowed
    assert asked[1] == "2"
    assert int(allowed[1]) <= int(asked[2]) < int(allowed[2])


def test_the_bare_install_is_the_light_client(project: dict[str, Any]) -> None:
    names = {re.split(r"[<>=!~; ]", line)[0] for line in project["project"]["dependencies"]}
    assert names == {"numpy", "websockets", "httpx"}


# Each check can fail:


def test_vague_name_check() -> None:
    good = [Path("worlds/core.py"), Path("realtime/config.py"), Path("clients/browser/link.js")]
    bad = [
        Path("worlds/utils.py"),
        Path("realtime/helpers/a.py"),
        Path("clients/browser/common.js"),
        Path("types.d.ts"),
    ]
    assert vague(good + bad) == bad


def test_length_check() -> None:
    assert not too_long(Path("a.py"), "x\n" * MAX_LINES)
    assert too_long(Path("a.py"), "x\n" * (MAX_LINES + 1))
    assert not too_long(Path("LICENSE"), "x\n" * (MAX_LINES + 1))


@pytest.mark.parametrize("host", REGISTRY_HOSTS)
def test_host_check(host: str) -> None:
    assert named_hosts(f"pip install --index-url https://{host}/simple x") == [host]
    assert named_hosts("see https://example.org/") == []


def test_changelog_check() -> None:
    assert newest_release("## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n## [0.1.0] - 2026-11-21\n") == "0.2.0"
    assert newest_release("## [Unreleased]\n") is None


def test_shipping_check() -> None:
    globs = {"*": ["*.js"], "worldstream.worlds.checkpoints": ["*.json"]}
    shipped = [
        Path("clients/browser/a.js"),
        Path("worlds/checkpoints/a.json"),
        Path("docs/a.wasm"),
        Path("worlds/a.py"),
    ]
    lost = [Path("clients/browser/a.wasm"), Path("worlds/a.json")]
    assert list(unshipped(shipped + lost, globs)) == lost


def test_pin_check() -> None:
    assert loose_pins(["ruff==0.17.5", "mypy>=2.4", "pytest", "a==1.*"]) == ["mypy>=2.4", "pytest", "a==1.*"]
    on_linux = "; sys_platform == 'linux'"
    assert loose_pins([f"a==1.2{on_linux}", f"a{on_linux}", f"a>=1{on_linux}"]) == [f"a{on_linux}", f"a>=1{on_linux}"]
