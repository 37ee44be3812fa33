"""``report.json``, ``report.md`` and ``report.html``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pssdet.errors import BadInput
from pssdet.files import staged_folder
from pssdet.validation.parity_report.html import to_html
from pssdet.validation.parity_report.markdown import to_markdown
from pssdet.validation.parity_report.schema import SCHEMA, Report

REPORT_JSON = "report.json"


def encode(report: Report) -> bytes:
    """The report as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def write_report(report: Report, folder: Path) -> None:
    """Write all three forms, together or not at all.

    Raises:
        BadInput: the folder cannot be written to.
    """
    content = encode(report)
    msgspec.json.decode(content, type=Report)  # what is written can be read: no NaN, nothing out of its type
    with staged_folder(folder) as stage:
        (stage / "report.html").write_text(to_html(report), encoding="utf-8")
        (stage / "report.md").write_text(to_markdown(report), encoding="utf-8")
        (stage / REPORT_JSON).write_bytes(content)


def read_report(folder: Path) -> Report:
    """The report of a folder.

    Raises:
        BadInput: there is none of this version.
    """
    path = folder / REPORT_JSON
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"{path} is not a report of this version ({error}); make it again") from error
    if report.schema != SCHEMA:
        raise BadInput(f"{path} has schema {report.schema}, this version reads {SCHEMA}; make it again")
    return report
