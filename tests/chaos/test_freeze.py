"""A bridge that freezes in mid-delivery: another delivers its jobs, and it settles nothing more."""

from __future__ import annotations

import signal
import time

import pytest

from tests.chaos.processes import Process, Scene
from tests.support.wait import eventually

WITHIN = 15.0
"""Seconds from the freeze until all its jobs are delivered by another process."""

JOBS = 50


def _freeze(scene: Scene, *, hold: str, delay: float) -> tuple[Process, list[int]]:
    """A process that stands still while its sink has the jobs, and their ids."""
    scene.keep_history()
    frozen = scene.start("one", {"RIVERBRIDGE_HOLD": hold}, delay=delay).until_serving()
    ids = scene.insert(JOBS)
    eventually(lambda: len(scene.ledger.entries("begin")) == JOBS)
    if float(hold) < delay:
        scene.until({"running": JOBS})
    frozen.send(signal.SIGSTOP)
    return frozen, ids


def _another_delivers(scene: Scene, frozen: Process, ids: list[int], attempt: int) -> None:
    began = time.monotonic()
    another = scene.start("two").until_serving()
    scene.until({"completed": JOBS}, WITHIN - (time.monotonic() - began))
    frozen.send(signal.SIGCONT)
    eventually(lambda: scene.ledger.counts() == dict.fromkeys(ids, 2))
    eventually(lambda: frozen.said("lost the connection") or frozen.said("no longer ours"))
    for process in (frozen, another):
        process.send(signal.SIGTERM)
        assert process.wait(20) == 0
    last = {id_: (state, number, by) for id_, state, number, by in scene.history()}
    assert set(last) == set(ids)
    for state, number, by in last.values():
        assert (state, number) == ("completed", attempt)
        assert by.startswith("riverbridge_two_")
    owners = scene.connection.execute("SELECT attempted_by, attempt FROM river_job").fetchall()
    for attempted_by, number in owners:
        assert (len(attempted_by), number) == (attempt, attempt)
        assert attempted_by[-1].startswith("riverbridge_two_")


def _short_limit_for_idle_transactions(scene: Scene) -> None:
    scene.connection.execute(
        f"ALTER DATABASE \"{scene.database.name}\" SET idle_in_transaction_session_timeout = '2s'"
    )


DEFAULT = pytest.param(False, id="default")
SHORT = pytest.param(True, id="2s-limit")
SLOW = pytest.mark.slow


@pytest.mark.every_major
@pytest.mark.parametrize("role_limit", [DEFAULT, pytest.param(True, id="2s-limit", marks=SLOW)])
def test_jobs_locked_by_a_frozen_process_are_delivered_by_another(
    scene: Scene, role_limit: bool
) -> None:
    if role_limit:
        _short_limit_for_idle_transactions(scene)
    frozen, ids = _freeze(scene, hold="3", delay=2.5)
    _another_delivers(scene, frozen, ids, attempt=1)
    assert [by for _, _, _, by in scene.history() if by.startswith("riverbridge_one_")] == []


@pytest.mark.parametrize("role_limit", [pytest.param(False, id="default", marks=SLOW), SHORT])
def test_jobs_leased_by_a_frozen_process_are_delivered_by_another(
    scene: Scene, role_limit: bool
) -> None:
    if role_limit:
        _short_limit_for_idle_transactions(scene)
    frozen, ids = _freeze(scene, hold="0.2", delay=3.0)
    _another_delivers(scene, frozen, ids, attempt=2)
    by_frozen = [state for _, state, _, by in scene.history() if by.startswith("riverbridge_one_")]
    assert by_frozen == ["running"] * JOBS
    assert frozen.said("no longer ours")


def test_a_short_limit_for_idle_transactions_does_not_cut_deliveries(scene: Scene) -> None:
    _short_limit_for_idle_transactions(scene)
    process = scene.start("one", {"RIVERBRIDGE_HOLD": "4"}, delay=2.5).until_serving()
    ids = scene.insert(JOBS)
    scene.until({"completed": JOBS})
    assert scene.ledger.counts() == dict.fromkeys(ids, 1)
    assert not process.said("lost the connection")
