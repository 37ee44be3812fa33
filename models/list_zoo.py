"""The command ``pssdet zoo`` as a script; see ``pssdet/commands/zoo.py``."""

from pssdet.commands.app import run
from pssdet.commands.zoo import zoo

if __name__ == "__main__":
    run(zoo)
