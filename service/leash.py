"""Ties a process to its parent: when the parent goes, however it goes, the process goes too.

Run as a script, `python leash.py HOW PARENT SIGNAL COMMAND...`, with a pipe as standard input whose other end
the parent holds. It becomes COMMAND, under its own pid. HOW is `kernel` (Linux: the kernel sends SIGNAL when
the thread that started this process ends) or `pipe` (elsewhere: a forked watcher sees the pipe close).

A script rather than a `preexec_fn`, since Python code between fork and exec may hang a parent with threads.
It imports nothing of ours, so that it starts in a few milliseconds.
"""

import os
import select
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PARENT_IS_GONE = 70


def main(arguments: list[str]) -> None:
    """Tie this process to its parent, then become the command. Raises `OSError` if it cannot be run."""
    how, parent, number, command = arguments[0], int(arguments[1]), int(arguments[2]), arguments[3:]
    if how == "kernel":
        _ask_kernel(number)
    else:
        _fork_watcher(number)
    if os.getppid() != parent:  # it went before the leash was on
        os._exit(_PARENT_IS_GONE)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.execvp(command[0], command)


def _ask_kernel(number: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def _fork_watcher(number: int) -> None:
    watched = os.getpid()
    if os.fork() != 0:
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it leaves with the process it watches, not before
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the command's output would never end
    os.dup2(1, 2)
    while os.getppid() == watched:
        closed, _, _ = select.select([0], [], [], 0.5)
        if closed:
            os.kill(watched, number)
            break
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
