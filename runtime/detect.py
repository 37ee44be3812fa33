"""The command ``pssdet detect`` as a script; see ``pssdet/commands/detect.py``."""

from pssdet.commands.app import run
from pssdet.commands.detect import detect

if __name__ == "__main__":
    run(detect)
