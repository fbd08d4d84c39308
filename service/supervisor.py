"""Starts the processes in order, starts one that died again, stops them all in reverse.

One thread and one loop: output, signals and deaths all wake the same `select`. Knows nothing of what the
processes are; `service.stack` says that.
"""

import contextlib
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from service.child import Child

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.1
_PATIENCE_S = 30.0
_HURRY_S = 1.0


@dataclass(frozen=True)
class Restarts:
    """When a dead process is started again: at once, then after a pause that doubles up to `longest_s`.

    A death within `fast_s` of its start is fast; after `tries` fast deaths in a row the service gives up.
    """

    fast_s: float = 10.0
    tries: int = 5
    first_s: float = 0.25
    longest_s: float = 5.0

    def pause_s(self, fast_deaths: int) -> float:
        """The pause before the next start, in seconds, after so many fast deaths in a row."""
        if fast_deaths == 0:
            return 0.0
        return float(min(self.longest_s, self.first_s * 2 ** (fast_deaths - 1)))


class _Stop(Exception):
    """Somebody asked the service to stop."""


class _GiveUp(Exception):
    """A process does not stay alive."""


@dataclass
class _Life:
    """What the loop remembers of one child. start_at: when to start it again, None while it runs."""

    child: Child
    started_at: float = 0.0
    fast_deaths: int = 0
    start_at: float | None = None


class Supervisor:
    """Runs children until it is told to stop or one of them cannot be kept alive.

    children: in the order of their start; each is waited for, by its `ready`, before the next is started.
    write: takes a line for the terminal. on_ready: called once, when the last is ready.
    on_child_death: called with a dead child, its pid still in it, before it is started again.
    stop_together: whether all are asked to stop at once, and not one after the other.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        write: Callable[[str], None],
        on_ready: Callable[[], None] = lambda: None,
        on_child_death: Callable[[Child], None] = lambda child: None,
        restarts: Restarts | None = None,
        stop_together: bool = False,
    ) -> None:
        self._lives = [_Life(child) for child in children]
        self._write = write
        self._on_ready = on_ready
        self._on_child_death = on_child_death
        self._restarts = restarts or Restarts()
        self._stop_together = stop_together
        self._width = max(len(child.name) for child in children)
        self._selector = selectors.DefaultSelector()
        self._was_ready = False

    def run(self) -> int:
        """Run until stopped. Main thread only. Returns 0 if it was asked to stop, 1 if it gave up."""
        with self._signals():
            try:
                return self._run()
            finally:
                self._stop_all()

    def _run(self) -> int:
        try:
            for life in self._lives:
                self._start(life)
                self._wait_ready(life)
            self._was_ready = True
            self._on_ready()
            while True:
                self._turn(self._pause_s())
        except _Stop:
            self._write("Stopping. Ctrl-C again stops at once.")
            return 0
        except _GiveUp as reason:
            self._write(str(reason))
            return 1

    def _wait_ready(self, life: _Life) -> None:
        notice_at = time.monotonic() + _PATIENCE_S
        while not life.child.ready():
            self._turn(_POLL_S)
            if time.monotonic() > notice_at:
                self._write(f"Still waiting until {life.child.name} is ready.")
                notice_at += _PATIENCE_S

    def _turn(self, pause_s: float | None) -> None:
        """One pass: sleep, pass lines on, notice deaths, start what is due. Raises `_Stop` and `_GiveUp`."""
        if self._listen(pause_s):
            raise _Stop
        for life in self._lives:
            if life.child.running and life.child.poll() is not None:
                self._bury(life)
            elif life.start_at is not None and time.monotonic() >= life.start_at:
                self._start(life)

    def _listen(self, pause_s: float | None) -> bool:
        """Sleep until output, a signal or the end of the pause; whether a stop signal came."""
        numbers = b""
        for key, _ in self._selector.select(pause_s):
            if isinstance(key.data, _Life):
                self._pass_on(key.data)
            else:
                numbers += key.data.recv(4096)
        return any(number in _STOP_SIGNALS for number in numbers)

    def _pause_s(self) -> float | None:
        """How long the loop may sleep: until a start is due, else until something happens (SIGCHLD counts)."""
        due = [life.start_at for life in self._lives if life.start_at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _pass_on(self, life: _Life) -> None:
        for line in life.child.pump():
            self._write(f"{life.child.name:<{self._width}} | {line}")

    def _start(self, life: _Life) -> None:
        life.start_at = None
        life.started_at = time.monotonic()
        life.child.start()
        if life.child.output is not None:
            self._selector.register(life.child.output, selectors.EVENT_READ, life)

    def _close(self, life: _Life) -> None:
        """Take the last words of a child that has ended, and its pipe out of the loop."""
        if life.child.output is not None:
            self._pass_on(life)
            self._selector.unregister(life.child.output)
            life.child.close()

    def _bury(self, life: _Life) -> None:
        """Tell of a death and plan the next start, or raise `_GiveUp`."""
        child, code = life.child, life.child.poll()
        assert code is not None
        self._close(life)
        ended = f"{child.name} (process {child.pid}) ended {_how(code)}"
        if not self._was_ready:
            raise _GiveUp(self._last_words(child, f"{ended} before the service was ready."))
        self._on_child_death(child)
        fast = time.monotonic() - life.started_at < self._restarts.fast_s
        life.fast_deaths = life.fast_deaths + 1 if fast else 0
        if life.fast_deaths >= self._restarts.tries:
            times = f"{life.fast_deaths} times in a row, each within {self._restarts.fast_s:g} s of its start"
            raise _GiveUp(self._last_words(child, f"{ended}, {times}. Giving up."))
        pause_s = self._restarts.pause_s(life.fast_deaths)
        life.start_at = time.monotonic() + pause_s
        self._write(f"{ended}; starting it again" + (f" in {pause_s:g} s." if pause_s else "."))

    def _last_words(self, child: Child, sentence: str) -> str:
        return "\n".join(
            [sentence, f"Its last lines of output (of {child.name}):", *(f"  {x}" for x in child.tail())]
        )

    def _stop_all(self) -> None:
        """Stop the children, last started first. A second stop signal leaves each a second at most."""
        started = [life for life in reversed(self._lives) if life.child.pid is not None]
        hurry = False
        for lives in [started] if self._stop_together else [[life] for life in started]:
            hurry = self._stop(lives, hurry)
        self._selector.close()

    def _stop(self, lives: Sequence[_Life], hurry: bool) -> bool:
        """Stop some children at once; whether somebody is in a hurry now."""
        for life in lives:
            life.child.send(signal.SIGTERM)
        begun = time.monotonic()
        hurried_at = begun if hurry else None
        while any(life.child.running and life.child.poll() is None for life in lives):
            for life in lives:
                until = begun + life.child.stop_s
                if time.monotonic() > (until if hurried_at is None else min(until, hurried_at + _HURRY_S)):
                    life.child.kill()
            if self._listen(_POLL_S):
                hurried_at = hurried_at or time.monotonic()
                for life in lives:
                    life.child.send(signal.SIGTERM)
        for life in lives:
            self._close(life)
        return hurried_at is not None

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Have signals wake the loop, and put back what was there before."""
        heard, told = socket.socketpair()
        heard.setblocking(False)
        told.setblocking(False)
        self._selector.register(heard, selectors.EVENT_READ, heard)
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # nohup
        numbers = [*_STOP_SIGNALS[: 2 if ignored else 3], signal.SIGCHLD]
        before = {number: signal.signal(number, lambda number, frame: None) for number in numbers}
        wakeup_before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            heard.close()
            told.close()


def _how(code: int) -> str:
    if code < 0:
        return f"by {signal.Signals(-code).name}"
    return f"with exit code {code}"
