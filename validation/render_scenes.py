"""The command ``pssdet scenes`` as a script; see ``pssdet/commands/scenes.py``."""

from pssdet.commands.app import run
from pssdet.commands.scenes import scenes

if __name__ == "__main__":
    run(scenes)
