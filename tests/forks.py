"""Children forked in a process of its own, whose threads no test has started."""

import subprocess
import sys

FORKS = """
import os, sys, time

{setup}

ended, forks = 0, {forks}
for _ in range(forks):
    before()
    if (child := os.fork()) == 0:
        os._exit(0 if is_right() else 1)
    until = time.monotonic() + 20
    while (found := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        time.sleep(0.001)
    if found[0] == 0:
        os.kill(child, 9)
        os.waitpid(child, 0)
        break
    ended += found[1] == 0
print(f"{{ended}} of {{forks}} ended")
"""


def forked(setup, forks):
    """Exit status, standard output and errors of a process that forks.

    It runs ``setup``, which defines ``before``, called before each fork, and ``is_right``, called in the child.
    """
    command = [sys.executable, "-W", "ignore", "-c", FORKS.format(setup=setup, forks=forks)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    return ended.returncode, ended.stdout, ended.stderr
