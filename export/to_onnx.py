"""The command ``pssdet export`` as a script; see ``pssdet/commands/export.py``."""

from pssdet.commands.app import run
from pssdet.commands.export import export

if __name__ == "__main__":
    run(export)
