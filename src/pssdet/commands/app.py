"""What all commands share: exit codes, one-line errors, imports only of the command that is called."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any, NoReturn

import cyclopts

from pssdet.console import quiet_paddle, terminate
from pssdet.errors import BadInput, PssDetError

#: Where each command is, imported when it is used, and what it does.
_COMMANDS = {
    "export": ("pssdet.commands.export:export", "Paddle checkpoint to verified ONNX."),
    "build": ("pssdet.commands.build:build", "Exported model to an engine."),
    "detect": ("pssdet.commands.detect:detect", "Pictures and videos to detections."),
    "report": ("pssdet.commands.report:report", "Accuracy and speed of engines against the original."),
    "stages": ("pssdet.commands.stages:stages", "Engines against a reference, stage by stage."),
    "top1": ("pssdet.commands.top1:top1", "Accuracy of the exported classifier."),
    "scenes": ("pssdet.commands.scenes:scenes", "Render scenes as a COCO data set."),
    "gpu-check": ("pssdet.commands.gpu_check:gpu_check", "What a GPU does with kernels, plugins and engines."),
    "zoo": ("pssdet.commands.zoo:zoo", "The detectors and their published figures."),
}


def run(command: Callable[..., Any]) -> NoReturn:
    """Run one command with the arguments of this process, as an entry script does; never returns."""
    sys.exit(execute(app_of(command), sys.argv[1:]))


def app_of(command: Callable[..., Any]) -> cyclopts.App:
    """One command as a program of its own."""
    app = _app(name=None, about=None)
    app.default(command)
    return app


def main() -> NoReturn:
    """Entry point of the ``pssdet`` console script."""
    app = _app(name="pssdet", about="PSS-DET detectors: from Paddle checkpoints to engines to detections.")
    for name, (target, about) in _COMMANDS.items():
        # The command that is called brings its own help; asking the others for theirs would import them.
        app.command(target, name=name, help=None if sys.argv[1:2] == [name] else about)
    sys.exit(execute(app, sys.argv[1:]))


def _app(name: str | None, about: str | None) -> cyclopts.App:
    quiet_paddle()
    return cyclopts.App(
        name=name,
        help=about,
        version=metadata.version("pss-det"),
        default_parameter=cyclopts.Parameter(negative=(), show_default=False),
    )


def execute(app: cyclopts.App, arguments: Sequence[str]) -> int:
    """Run ``app`` and turn what it raises into one line on stderr and an exit code."""
    signal.signal(signal.SIGTERM, terminate)
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except cyclopts.CycloptsError as error:
        return _report(BadInput(f"{_one_line(str(error)).rstrip('.')}; --help shows the arguments"))
    except PssDetError as error:
        return _report(error)
    except BrokenPipeError:
        # The reader of our output is gone; Python must not complain when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _report(BadInput(f"{name}{error.strerror or error}; check the path and its permissions"))
    except KeyboardInterrupt:
        print("interrupted; nothing half-written is left", file=sys.stderr)
        return 130
    return 0


def _report(error: PssDetError) -> int:
    print(f"error: {_one_line(str(error))}", file=sys.stderr)
    return error.exit_code


def _one_line(text: str) -> str:
    return " ".join(text.split())
