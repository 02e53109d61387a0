"""How a job process is started: as many threads as the server may use, but one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worldstream.realtime.jobs.pool import JobProcess, ProcessConfig


def test_a_job_process_takes_the_cores_that_the_server_may_use_but_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    process = JobProcess(ProcessConfig(tmp_path))
    assert process._environment()["OMP_NUM_THREADS"] == "2"
    assert JobProcess(ProcessConfig(tmp_path, threads=7))._environment()["OMP_NUM_THREADS"] == "7"
