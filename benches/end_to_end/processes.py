"""Programs that run for as long as something is measured."""

import contextlib
import signal
import subprocess
import sys

# Seconds for a program to end, also under valgrind.
PATIENCE = 120


@contextlib.contextmanager
def process(command, **more):
    """A program without input that says nothing, unless `more` tells otherwise; ended by SIGINT."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(command, **{**quiet, **more})
    try:
        yield child
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            print(f"*** {command[0]} did not end within {PATIENCE} s and was killed", file=sys.stderr)
