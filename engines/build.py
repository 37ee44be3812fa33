"""The command ``pssdet build`` as a script; see ``pssdet/commands/build.py``."""

from pssdet.commands.app import run
from pssdet.commands.build import build

if __name__ == "__main__":
    run(build)
