"""Programs that run for as long as something is measured."""

import contextlib
import signal
import subprocess


@contextlib.contextmanager
def process(command, **more):
    """A program without input that says nothing, unless `more` tells otherwise; ended by SIGINT."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(command, **{**quiet, **more})
    try:
        yield child
    finally:
        child.send_signal(signal.SIGINT)
        child.wait()
