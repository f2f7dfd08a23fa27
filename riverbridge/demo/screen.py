"""What the demo shows: a live picture on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from riverbridge.demo.play import Play, Result

WINDOW = 3.0
"""Seconds over which rates are taken."""

LINE_EVERY = 2.0
"""Seconds between lines where there is no terminal."""


class Rates:
    """How fast some counts have grown lately."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, tuple[int, ...]]] = deque()

    def of(self, counts: tuple[int, ...]) -> tuple[float, ...]:
        """Per second, for each of `counts`."""
        now = time.monotonic()
        self._seen.append((now, counts))
        while now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        then, before = self._seen[0]
        seconds = max(now - then, 0.001)
        return tuple((new - old) / seconds for new, old in zip(counts, before, strict=True))


def screen(play: Play, console: Console) -> AbstractContextManager[object]:
    """Shows `play` while it is entered."""
    if not console.is_terminal:
        return Lines(play, console)
    picture = Picture(play)
    return Live(
        get_renderable=picture.draw, console=console, refresh_per_second=8, redirect_stderr=False
    )


class Picture:
    """The picture on a terminal."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._rates = Rates()

    def draw(self) -> RenderableType:
        parts: list[RenderableType] = [self._counts(), self._facts()]
        jobs = self._play.options.jobs
        if jobs is not None:
            report = self._play.scene.report
            done = min(report.kafka.delivered, report.sqs.delivered)
            parts.append(ProgressBar(total=jobs, completed=done))
        else:
            parts.append(Text("Ctrl-C ends it and compares.", style="dim"))
        parts.append(self._orders())
        seconds = time.monotonic() - self._play.started
        title = f"riverbridge demo: {self._play.phase}, {seconds:.0f} s"
        return Panel(Group(*parts), title=title, expand=False, width=76)

    def _counts(self) -> RenderableType:
        writer, report = self._play.writer, self._play.scene.report
        inserted = writer.inserted
        kafka, sqs = report.kafka.delivered, report.sqs.delivered
        worked = self._play.worked
        rates = self._rates.of((inserted, writer.rolled_back, kafka, sqs, worked))
        table = Table(box=None, expand=True)
        table.add_column("")
        for head in ("total", "per second", "lag"):
            table.add_column(head, justify="right")
        rows = (
            ("orders committed, each with its job", inserted, ""),
            ("orders rolled back", writer.rolled_back, ""),
            ("read from Kafka, topic orders", kafka, f"{max(0, inserted - kafka):,}"),
            ("read from SQS, queue billing", sqs, f"{max(0, inserted - sqs):,}"),
            ("Kafka's as jobs again, worked", worked, f"{max(0, inserted - worked):,}"),
        )
        for (name, total, lag), rate in zip(rows, rates, strict=True):
            table.add_row(name, f"{total:,}", f"{rate:,.0f}", lag)
        return table

    def _facts(self) -> RenderableType:
        report, killer = self._play.scene.report, self._play.killer
        text = Text("  rolled back and yet arrived: ")
        text.append(str(report.strangers), style="bold red" if report.strangers else "bold green")
        text.append(f"   copies: Kafka {report.kafka.duplicates}, SQS {report.sqs.duplicates}")
        if self._play.options.kill:
            text.append(f"\n  kills: {killer.kills}, with {killer.in_flight} jobs in flight")
        return text

    def _orders(self) -> RenderableType:
        table = Table(box=None, expand=True, header_style="dim")
        for head in ("last orders", "customer", "amount", ""):
            table.add_column(head, justify="right" if head == "amount" else "left")
        for order in list(self._play.writer.recent)[::-1]:
            end = Text("committed") if order.committed else Text("rolled back", style="red")
            table.add_row(str(order.id), order.customer, order.amount, end)
        return table


class Lines:
    """A line every two seconds, from a thread of its own."""

    def __init__(self, play: Play, console: Console) -> None:
        self._play = play
        self._console = console
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._end.wait(LINE_EVERY):
            writer, report = self._play.writer, self._play.scene.report
            self._console.print(
                f"{time.monotonic() - self._play.started:.0f} s, {self._play.phase}: "
                f"{writer.inserted} committed, {writer.rolled_back} rolled back, "
                f"{report.kafka.delivered} from Kafka, {report.sqs.delivered} from SQS, "
                f"{self._play.worked} jobs again and worked, "
                f"{self._play.killer.kills} kills",
                soft_wrap=True,
                highlight=False,
            )


def summary(result: Result) -> str:
    """The end, for people."""
    return (
        f"{result.inserted:,} orders committed, {result.rolled_back:,} rolled back. "
        f"Read back: {result.delivered['kafka']:,} from Kafka, {result.delivered['sqs']:,} "
        f"from SQS; {result.round_trip.worked:,} of Kafka's became jobs again and were worked "
        f"({result.round_trip.worked_by['python']:,} in Python, "
        f"{result.round_trip.worked_by['go']:,} in Go), "
        f"{result.round_trip.lost} lost and {result.round_trip.twice} twice. "
        f"Lost: {result.lost}. Copies: {result.duplicates}. "
        f"Kills: {result.kills}, with {result.in_flight_at_kills:,} jobs in flight. "
        f"{result.seconds:.1f} s."
    )
