"""The queue with real job processes: results, failures, cancelling, watching, and what a crash leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.realtime.doubles import eventually
from tests.realtime.queues import QUICK, Quick, new, patient, quick_queue
from worldstream.realtime.jobs.process import Calm
from worldstream.realtime.tasks import NewTask, Task, TaskEvent


async def put(quick: Quick, key: str, content: bytes) -> None:
    file = quick.data / "given"
    file.write_bytes(content)
    await quick.blobs.put(key, file, "text/plain")


async def keys(quick: Quick) -> list[str]:
    return [key async for key, _ in quick.blobs.keys("")]


async def running(quick: Quick, task: Task, progress: float = 0.0) -> Task:
    async with asyncio.timeout(20.0):
        while task.state != "RUNNING" or task.progress < progress:
            await asyncio.sleep(0.005)
            task = await quick.queue.get(task.owner, task.id)
    return task


async def test_inputs_become_outputs_and_go_with_the_task(tmp_path: Path) -> None:
    async with quick_queue(tmp_path) as quick:
        await put(quick, "inputs/a.txt", b"seen ")
        await put(quick, "uploads/b.txt", b"and kept ")
        order = NewTask("write", {"says": "here"}, {"a": "inputs/a.txt", "b": "uploads/b.txt"}, owner="me")
        task = await quick.ended(await quick.queue.create(order))
        assert (task.state, task.progress, task.facts["ran"]) == ("SUCCEEDED", 1.0, "quick")
        assert task.outputs == (f"outputs/{task.id}/1/0.txt",)
        assert await quick.said(task) == b"seen and kept here"
        await quick.queue.remove("me", task.id)
        assert await keys(quick) == ["uploads/b.txt"]
        for gone in (quick.queue.get("me", task.id), quick.queue.remove("me", task.id)):
            with pytest.raises(KeyError):
                await gone


async def test_orders_that_name_nothing_are_refused(tmp_path: Path) -> None:
    async with quick_queue(tmp_path, opened=False) as quick:
        with pytest.raises(ValueError, match="no kind of job 'paint'; there are write"):
            await quick.queue.create(new("paint"))
        with pytest.raises(ValueError, match="is not the name of an input"):
            await quick.queue.create(NewTask("write", {}, {"../x": "inputs/a"}))


async def test_failures_of_every_kind(tmp_path: Path) -> None:
    """Ours are tried again, three times in all; the client's are not; one task's crash is nobody else's."""
    expected = {
        "segfault": ("INTERNAL", "signal 11", 3),
        "exit": ("INTERNAL", "status 3", 3),
        "raise": ("INTERNAL", "RuntimeError", 3),
        "facts": ("INTERNAL", "ValueError", 3),
        "escape": ("INTERNAL.BAD_OUTPUT", "no file", 3),
        "nothing": ("INTERNAL.BAD_OUTPUT", "made nothing", 3),
        "INPUT_PREPROCESSING.TOO_SHORT": ("INPUT_PREPROCESSING.TOO_SHORT", "It failed with", 1),
    }
    async with quick_queue(tmp_path) as quick:
        made = {code: await quick.queue.create(new("fail", code=code, tally=str(tmp_path / code))) for code in expected}
        well = await quick.queue.create(new())
        recovers = await quick.queue.create(new("fail", code="segfault", tally=str(tmp_path / "t"), until=3))
        for code, (failure_code, text, attempts) in expected.items():
            task = await quick.ended(made[code])
            assert (task.state, task.failure_code) == ("FAILED", failure_code)
            assert text in task.failure
            assert "secret" not in task.failure
            assert len((tmp_path / code).read_text()) == attempts
        assert (await quick.ended(well)).state == "SUCCEEDED"
        recovered = await quick.ended(recovers)
        assert (recovered.state, recovered.outputs) == ("SUCCEEDED", (f"outputs/{recovers.id}/3/0.txt",))
        missing = await quick.ended(await quick.queue.create(NewTask("write", {}, {"a": "inputs/none"}, owner="me")))
        assert (missing.state, missing.failure_code) == ("FAILED", "ASSET.INVALID")
        assert len(await keys(quick)) == 2
        await eventually(lambda: not list((tmp_path / "servers" / "0.scratch").iterdir()))


async def test_the_process_stays_and_progress_is_told_at_once(tmp_path: Path) -> None:
    async with quick_queue(tmp_path) as quick:
        first = await quick.ended(await quick.queue.create(new()))
        task = await quick.queue.create(new(steps=10, step_s=0.05, shows=True))
        events = [event async for event in quick.queue.watch("me", task.id)]
        last = events[-1].task
        assert (last.state, last.facts["pid"]) == ("SUCCEEDED", first.facts["pid"])
        seen = [event.task.progress for event in events]
        assert seen == sorted(seen)
        assert len(set(seen)) >= 8
        previews = [event.preview_jpeg for event in events if event.preview_jpeg]
        assert previews
        assert all(preview.startswith(b"\xff\xd8") for preview in previews)
        left = [event.left_s for event in events if event.left_s is not None]
        assert left
        assert left[-1] < left[0] < 5.0
        with pytest.raises(KeyError):
            await anext(aiter(quick.queue.watch("other", task.id)))


async def test_what_libraries_print_disturbs_nobody(tmp_path: Path) -> None:
    async with quick_queue(tmp_path) as quick:
        task = await quick.queue.create(new("loud"))
        seen = [event.task.progress async for event in quick.queue.watch("me", task.id)]
        assert seen == sorted(seen)
        assert max(seen) == 1.0
        assert (await quick.queue.get("me", task.id)).state == "SUCCEEDED"


async def test_cancel_stops_the_model_within_a_chunk(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    async with quick_queue(tmp_path) as quick:
        task = await running(quick, await quick.queue.create(new(steps=400, step_s=0.05, beats=str(beats))), 0.005)
        watching: list[TaskEvent] = []

        async def watch() -> None:
            watching.extend([event async for event in quick.queue.watch("me", task.id)])

        watcher = asyncio.create_task(watch())
        await asyncio.sleep(0.1)
        cancelled_s = time.time()
        await quick.queue.remove("me", task.id)
        with pytest.raises(KeyError):
            await quick.queue.get("me", task.id)
        await watcher
        assert watching[-1].task.state == "CANCELLED"
        after = await quick.ended(await quick.queue.create(new()))  # the process is free, and the same
        assert after.state == "SUCCEEDED"
        last_beat_s = float(beats.read_text().split()[-1])
        assert last_beat_s - cancelled_s < 0.05 + 0.5  # one chunk, and what a loaded machine takes
        assert await keys(quick) == list(after.outputs)


async def test_a_job_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    async with quick_queue(tmp_path, patient(cancel_grace_s=0.2)) as quick:
        task = await running(quick, await quick.queue.create(new("deaf")), 0.1)
        began_s = time.monotonic()
        await quick.queue.remove("me", task.id)
        after = await quick.ended(await quick.queue.create(new()))
        assert after.state == "SUCCEEDED"
        assert time.monotonic() - began_s < 10.0


async def test_a_task_has_a_time_limit(tmp_path: Path) -> None:
    async with quick_queue(tmp_path, patient(limit_s=2.0)) as quick:
        task = await quick.ended(await quick.queue.create(new("deaf")))
        assert (task.state, task.failure_code) == ("FAILED", "INTERNAL")
        assert "longer than 2 s" in task.failure
        assert (await quick.ended(await quick.queue.create(new()))).state == "SUCCEEDED"


async def test_a_heavy_job_rests_while_somebody_plays(tmp_path: Path) -> None:
    async with quick_queue(tmp_path) as quick:
        task = await running(quick, await quick.queue.create(new("heavy", steps=100, step_s=0.02)), 0.05)
        quick.queue.be(Calm(1, paused=True))
        await asyncio.sleep(0.2)
        before = (await quick.queue.get("me", task.id)).progress
        await asyncio.sleep(0.3)
        assert (await quick.queue.get("me", task.id)).progress == before
        quick.queue.be(Calm(1))
        await running(quick, task, before + 0.05)
        quick.queue.be(Calm(1, paused=True))
        await quick.queue.remove("me", task.id)  # a job that rests can be cancelled
        quick.queue.be(Calm())
        assert (await quick.ended(await quick.queue.create(new("heavy")))).state == "SUCCEEDED"


async def test_a_stop_in_order_hands_back_and_leaves_no_process(tmp_path: Path) -> None:
    strangers = set(psutil.Process().children(recursive=True))  # a browser that other files left to their session
    async with quick_queue(tmp_path) as quick:
        task = await running(quick, await quick.queue.create(new(steps=1000, step_s=0.05)), 0.001)
        children = set(psutil.Process().children(recursive=True)) - strangers
    assert children
    assert psutil.wait_procs(children, timeout=5.0)[1] == []
    async with quick_queue(tmp_path, opened=False) as quick:
        assert (await quick.queue.get("me", task.id)).state == "PENDING"
        assert quick.database.now(lambda c: quick.rows.claim(c, "x", "light", time.time(), 9.0)).attempt == 1  # type: ignore[union-attr]


async def test_a_crash_at_any_point_leaves_no_orphans(tmp_path: Path) -> None:
    """What a server leaves that died between the blobs and the database, or half-way through removing."""
    async with quick_queue(tmp_path, opened=False) as quick:
        task = await quick.queue.create(new(says="once"))
        done = await quick.queue.create(new("loud"))
        claim = quick.database.now(lambda c: quick.rows.claim(c, "a-0", "light", time.time(), -1.0))
        assert claim is not None
        assert claim.task.id == task.id
        await put(quick, f"outputs/{task.id}/1/0.txt", b"moved in, never told")
        await put(quick, "outputs/7f7f0000-0000-4000-8000-000000000000/1/0.txt", b"of a task that was removed")
        await put(quick, "inputs/lost.txt", b"of a task that was never made")
        await put(quick, "uploads/u.txt", b"not ours to judge")
        (tmp_path / "blobs" / "outputs" / ".part-1234").write_bytes(b"half a copy")
        scratch = tmp_path / "servers" / "3.scratch" / "x-1"
        scratch.mkdir(parents=True)
    async with quick_queue(tmp_path) as quick:
        task, done = await quick.ended(task), await quick.ended(done)
        assert task.outputs == (f"outputs/{task.id}/2/0.txt",)
        assert await quick.said(task) == b"once"
        assert sorted(await keys(quick)) == sorted([*task.outputs, *done.outputs, "uploads/u.txt"])
        assert not scratch.exists()


async def test_two_servers_share_a_folder_and_take_over(tmp_path: Path) -> None:
    lease = patient(QUICK, lease_s=1.0, light=1)
    async with quick_queue(tmp_path, lease) as one, quick_queue(tmp_path, lease) as two:
        assert (tmp_path / "servers" / "1.scratch").is_dir()
        tasks = [await one.queue.create(new("write", owner=f"o{i}", step_s=0.05)) for i in range(10)]
        ended = [await two.ended(task) for task in tasks]
        assert {task.state for task in ended} == {"SUCCEEDED"}
        assert len({task.facts["pid"] for task in ended}) == 2
        assert len(await keys(one)) == 10
        long = await one.queue.create(new("write", steps=1000, step_s=0.05))
        await running(two, long)
        await two.queue.remove("me", long.id)  # wherever it runs
        after = [await quick.ended(await quick.queue.create(new("loud"))) for quick in (one, two)]
        assert {task.state for task in after} == {"SUCCEEDED"}


async def test_a_server_that_loses_its_lease_leaves_nothing(tmp_path: Path) -> None:
    """It was asleep; another has its task meanwhile. One result remains."""
    async with quick_queue(tmp_path, patient(heartbeat_s=60.0, lease_s=600.0)) as quick:
        task = await running(quick, await quick.queue.create(new(steps=20, step_s=0.05)), 0.05)
        taken = quick.database.now(lambda c: quick.rows.reclaim(c, time.time(), 3, quick.queue._slot.name))
        assert [t.id for t in taken] == [task.id]
        ended = await quick.ended(await quick.queue.get("me", task.id))
        assert ended.outputs == (f"outputs/{task.id}/2/0.txt",)
        await asyncio.sleep(0.1)
        assert await keys(quick) == list(ended.outputs)


async def test_retention_on_a_virtual_clock(tmp_path: Path) -> None:
    now_s = [1e9]
    async with quick_queue(tmp_path, patient(keep_outputs_days=2.0), clock=lambda: now_s[0]) as quick:
        await put(quick, "inputs/a.txt", b"old ")
        old = await quick.ended(await quick.queue.create(NewTask("write", {}, {"a": "inputs/a.txt"}, owner="me")))
        now_s[0] += 86_400.0
        young = await quick.ended(await quick.queue.create(new()))
        now_s[0] += 86_401.0
        await quick.queue.expire()
        task = await quick.queue.get("me", old.id)
        assert (task.state, task.outputs, task.facts["expired"]) == ("SUCCEEDED", (), True)
        assert await keys(quick) == list(young.outputs)


async def test_trouble_with_the_database_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with quick_queue(tmp_path) as quick:
        real, broken = quick.database.read, [3]

        async def read(work: object) -> object:
            if broken[0]:
                broken[0] -= 1
                raise OSError("the disk is away")
            return await real(work)  # type: ignore[arg-type]

        monkeypatch.setattr("worldstream.realtime.task_queue.TROUBLE_S", 0.05)
        monkeypatch.setattr(quick.database, "read", read)
        await asyncio.sleep(0.3)
        assert broken == [0]
        assert (await quick.ended(await quick.queue.create(new()))).state == "SUCCEEDED"


async def test_a_process_that_was_killed_from_outside_is_replaced(tmp_path: Path) -> None:
    async with quick_queue(tmp_path) as quick:
        first = await quick.ended(await quick.queue.create(new()))
        os.kill(first.facts["pid"], signal.SIGKILL)
        second = await quick.ended(await quick.queue.create(new()))
        assert second.state == "SUCCEEDED"
        assert second.facts["pid"] != first.facts["pid"]
        third = await quick.queue.create(new(steps=40, step_s=0.05))
        await running(quick, third, 0.05)
        os.kill(second.facts["pid"], signal.SIGKILL)  # as the kernel does where memory ends
        assert (await quick.ended(third)).outputs == (f"outputs/{third.id}/2/0.txt",)


async def test_a_cancel_that_comes_too_late_harms_nobody_else(tmp_path: Path) -> None:
    """The keeper may notice an end a moment before the runner has let go; the process has another job by then."""
    async with quick_queue(tmp_path, patient(cancel_grace_s=0.05)) as quick:
        task = await running(quick, await quick.queue.create(new(steps=10, step_s=0.02)), 0.01)
        attempt = quick.queue._running[task.id]
        first = await quick.ended(task)
        await eventually(lambda: not quick.queue._running)
        second = await running(quick, await quick.queue.create(new(steps=20, step_s=0.02)), 0.01)
        attempt.cancel()
        done = await quick.ended(second)
        assert (done.facts["pid"], done.outputs) == (first.facts["pid"], (f"outputs/{second.id}/1/0.txt",))


async def test_a_second_try_leaves_no_inputs_behind(tmp_path: Path) -> None:
    async with quick_queue(tmp_path, opened=False) as quick:
        await put(quick, "inputs/1.txt", b"first")
        await put(quick, "inputs/2.txt", b"the same again")
        first = await quick.queue.create(NewTask("write", {}, {"a": "inputs/1.txt"}, owner="me", retry_of="h"))
        again = NewTask("write", {}, {"a": "inputs/2.txt"}, owner="me", retry_of="h", again=True)
        assert (await quick.queue.create(again)).id == first.id
        assert (await quick.queue.repeated("me", "h")) == await quick.queue.get("me", first.id)
        assert await keys(quick) == ["inputs/1.txt"]


async def test_a_process_can_be_ready_before_its_first_order(tmp_path: Path) -> None:
    async with quick_queue(tmp_path) as quick:
        quick.queue.warm()
        quick.queue.warm()  # twice is once
        (warming,) = quick.queue._warming
        await warming
        (process,) = quick.queue._processes["heavy"]
        assert process.pid is not None
        task = await quick.ended(await quick.queue.create(new("heavy")))
        assert (task.state, task.facts["pid"]) == ("SUCCEEDED", process.pid)
