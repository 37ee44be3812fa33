"""Import every module of the installed package; name folders to import only those."""

import importlib
import pkgutil
import sys

import pssdet

folders = sys.argv[1:]
prefixes = tuple(f"pssdet.{folder}" for folder in folders)
names = [module.name for module in pkgutil.walk_packages(pssdet.__path__, "pssdet.")]
chosen = [name for name in names if not folders or name.startswith(prefixes)]
if len(chosen) < 5:
    sys.exit(f"found only {chosen}")
for name in chosen:
    importlib.import_module(name)
print(f"imported {len(chosen)} modules from {pssdet.__path__[0]} with Python {sys.version.split()[0]}")
