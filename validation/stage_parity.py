"""The command ``pssdet stages`` as a script; see ``pssdet/commands/stages.py``."""

from pssdet.commands.app import run
from pssdet.commands.stages import stages

if __name__ == "__main__":
    run(stages)
