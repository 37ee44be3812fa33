"""The command ``pssdet top1`` as a script; see ``pssdet/commands/top1.py``."""

from pssdet.commands.app import run
from pssdet.commands.top1 import top1

if __name__ == "__main__":
    run(top1)
