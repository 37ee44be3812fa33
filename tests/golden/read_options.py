"""Print, as JSON, the options of every command of ``pssdet`` and of every entry script.

A command is an object of its options: type, default, choices, and whether it is required, repeated, positional
and described. Nothing of a command is run: each script is stopped where it would read its arguments.
"""

import argparse
import inspect
import json
import runpy
import sys
import types
import typing
from pathlib import Path

import cyclopts

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from golden_files import console_script  # noqa: E402

SCRIPTS = (
    "export/to_onnx.py",
    "engines/build.py",
    "runtime/detect.py",
    "models/list_zoo.py",
    "validation/report.py",
    "validation/stage_parity.py",
    "validation/top1.py",
    "validation/render_scenes.py",
    "plugins/tools/compile_check.py",
    "training/train_mini.py",
    "training/evaluate.py",
    "benchmarks/ablation.py",
    "benchmarks/exports.py",
    "benchmarks/batches.py",
    "benchmarks/cpu.py",
    "benchmarks/reference_parity.py",
    "benchmarks/int8_calibration.py",
    "benchmarks/padding_drift.py",
    "benchmarks/throughput.py",
    "benchmarks/gpu/run.py",
    "benchmarks/gpu/collect.py",
)


class Stopped(BaseException):
    """Carries the parser that was about to read its arguments; nothing catches it on the way."""

    def __init__(self, parser):
        super().__init__()
        self.parser = parser


def stop(parser, *_, **__):
    raise Stopped(parser)


def main():
    cyclopts.App.__call__ = stop
    argparse.ArgumentParser.parse_args = stop
    app = parser_of(start_console_script)
    commands = {
        f"pssdet {name}": options_of_command(app[name], app) for name in sorted(app) if not name.startswith("-")
    }
    scripts = {path: options_of_script(path) for path in SCRIPTS}
    print(json.dumps({**commands, **scripts}, indent=1))


def start_console_script():
    module, _, function = console_script().partition(":")
    sys.argv = ["pssdet"]
    getattr(__import__(module, fromlist=[function]), function)()


def options_of_script(path):
    def start():
        sys.argv = [path]
        runpy.run_path(str(ROOT / path), run_name="__main__")

    before = list(sys.path)
    sys.path.insert(0, str((ROOT / path).parent))  # as Python does for a script
    try:
        parser = parser_of(start)
    finally:
        sys.path[:] = before
    return (
        options_of_command(parser, parser) if isinstance(parser, cyclopts.App) else options_of_argparse(parser)
    )


def parser_of(start):
    try:
        start()
    except Stopped as stopped:
        return stopped.parser
    raise AssertionError("it read no arguments")


def options_of_command(command, app):
    """By name, whatever their order in ``--help``; positional arguments stand first, in their order."""
    collection = command.assemble_argument_collection(
        default_parameter=app.default_parameter, parse_docstring=True
    )
    arguments = [each for each in collection if not each.children]
    arguments.sort(key=lambda each: (each.index is None, each.name if each.index is None else ""))
    return {each.name: option(each) for each in arguments}


def option(argument):
    parameter, field = argument.parameter, argument.field_info
    repeated, kind = kind_of(argument.hint)
    if field.kind is inspect.Parameter.VAR_POSITIONAL:
        repeated = True
    default = None if field.default is inspect.Parameter.empty else field.default
    described = {
        "type": kind,
        "choices": argument.get_choices(),
        "default": plain(default),
        "required": bool(argument.required),
        "repeated": repeated,
        "several values at once": repeated and bool(parameter.consume_multiple),
        "positional": argument.index is not None,
        "other names": [name for name in argument.names if name != argument.name],
        "help": bool(parameter.help),
    }
    return {key: value for key, value in described.items() if key in {"type", "default"} or value}


def kind_of(hint):
    """Whether a type holds several values, and the name of the type of one."""
    if typing.get_origin(hint) is typing.Annotated:
        return kind_of(typing.get_args(hint)[0])
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        return kind_of(next(each for each in typing.get_args(hint) if each is not type(None)))
    if typing.get_origin(hint) is typing.Literal:
        return False, "str"
    if typing.get_origin(hint) in {list, tuple}:
        return True, kind_of(typing.get_args(hint)[0])[1]
    return False, "Path" if issubclass(hint, Path) else hint.__name__


def options_of_argparse(parser):
    return {
        (each.option_strings or [each.dest])[0]: {
            key: value
            for key, value in {
                "type": each.type.__name__ if each.type else "bool" if each.nargs == 0 else "str",
                "choices": list(each.choices or ()),
                "default": plain(each.default),
                "required": each.required,
                "repeated": each.nargs in {"+", "*"},
                "positional": not each.option_strings,
                "other names": each.option_strings[1:],
                "help": bool(each.help),
            }.items()
            if key in {"type", "default"} or value
        }
        for each in sorted(parser._actions, key=lambda each: each.option_strings)
        if each.dest != "help"
    }


def plain(value):
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return str(value).replace(str(ROOT), "<repository>") if isinstance(value, Path) else value


if __name__ == "__main__":
    main()
