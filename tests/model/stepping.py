"""Threads as greenlets that stop wherever another thread could come in between, on a clock of their own."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum

from greenlet import GreenletExit, getcurrent, greenlet

EPOCH = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Fault(Enum):
    """The outcome of a call, chosen by the code that steps an actor."""

    NONE = "answered"
    LOST = "the request was lost"
    UNANSWERED = "the answer was lost"
    BUSY = "busy: try again later"
    DENIED = "denied"
    PARTLY = "the first of many failed"


class Clock:
    """Virtual time, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    @property
    def date(self) -> datetime:
        """The same as a date."""
        return EPOCH + timedelta(seconds=self.now)


class Actor:
    """One thread. It does something again and again, or once, and stops at each :func:`pause`."""

    def __init__(self, name: str, act: Callable[[], object], *, once: bool = False) -> None:
        self.name = name
        self._act = act
        self._once = once
        self._running: greenlet | None = None
        self.at = "idle"
        self.is_over = False

    @property
    def is_idle(self) -> bool:
        """Whether it is between two of its acts."""
        return self._running is None

    def step(self, fault: Fault = Fault.NONE) -> None:
        """Go on to the next pause, or to the end of the act."""
        if self.is_over:
            return
        if self._running is None:
            self._running = greenlet(self._act)
            self._running.actor = self
            self._go_on(self._running.switch)
        else:
            self._go_on(self._running.switch, fault)

    def finish(self) -> None:
        """Go on to the end of the act that is under way, if there is one; all goes right."""
        while self._running is not None:
            self.step()

    def throw(self, error: type[BaseException]) -> None:
        """Let an error come out of the pause where it is."""
        if self._running is not None:
            self._go_on(self._running.throw, error)

    def end(self) -> None:
        """Stop it for ever, as a SIGKILL does."""
        self.is_over = True
        self.throw(GreenletExit)

    def _go_on(self, switch: Callable[..., object], *words: object) -> None:
        running = self._running
        try:
            self.at = str(switch(*words))
        finally:
            if running is None or running.dead:
                self._running, self.at = None, "idle"
                self.is_over = self.is_over or self._once


def pause(where: str) -> Fault:
    """Let others come in between, and return what becomes of the call that is made here."""
    actor = getattr(getcurrent(), "actor", None)
    if actor is None:
        return Fault.NONE
    if actor.is_over:
        raise GreenletExit
    fault = getcurrent().parent.switch(where)
    return fault if isinstance(fault, Fault) else Fault.NONE
