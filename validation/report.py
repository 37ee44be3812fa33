"""The command ``pssdet report`` as a script; see ``pssdet/commands/report.py``."""

from pssdet.commands.app import run
from pssdet.commands.report import report

if __name__ == "__main__":
    run(report)
