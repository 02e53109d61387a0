"""Looking at strangers' files in a process that may die without harm.

Demuxers and picture headers are read by C code. Here it has 2 GiB of address space and a time limit, a low priority and
no network to speak of; when it dies or hangs, the file is refused and the next one gets a fresh process. One process
stays for many files, so that a look takes milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .probe import Probe, probe

MEMORY_BYTES = 2 * 2**30
TIMEOUT_S = 15.0
MAX_LINE = 64 * 1024


class ProbeProcess:
    """Satisfies the same contract as `probe.probe`, awaited. One file at a time."""

    def __init__(self, timeout_s: float = TIMEOUT_S, module: str = f"{__package__}.probe_process") -> None:
        self._timeout_s, self._module = timeout_s, module
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def probe(self, path: Path, wanted: str) -> Probe:
        """What the file is. Raises ValueError in one line."""
        async with self._lock:
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await self._asked(path, wanted)
            except (TimeoutError, OSError, ValueError) as error:
                await self._end()
                late = isinstance(error, TimeoutError)
                said = (
                    f"reading it took longer than {self._timeout_s:g} s"
                    if late
                    else "it is damaged: reading it broke off"
                )
                raise ValueError(said) from None
            except BaseException:  # whoever asked has gone, and the answer would be taken for the next one's
                await self._end()
                raise
        if "problem" in answer:
            raise ValueError(str(answer["problem"]))
        return Probe(**answer)

    async def _asked(self, path: Path, wanted: str) -> dict[str, Any]:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", self._module,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                limit=MAX_LINE,
            )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"path": str(path), "wanted": wanted}).encode() + b"\n")
        await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise ValueError("it died")
        found = json.loads(line)
        assert isinstance(found, dict)
        return found

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def close(self) -> None:
        """End the process."""
        async with self._lock:
            await self._end()


def look(path: Path, wanted: str) -> dict[str, Any]:
    """`probe`, with what it raises as a member."""
    try:
        return asdict(probe(path, wanted))
    except ValueError as error:
        return {"problem": str(error)}
    except MemoryError:
        return {"problem": "it takes more memory than a file may"}


def main() -> None:
    """A line of JSON in, a line of JSON out, until the input ends."""
    with suppress(ImportError, ValueError, OSError):  # systems without such a limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it has nothing to write
    os.nice(5)
    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.write(json.dumps(look(Path(asked["path"]), asked["wanted"])) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
