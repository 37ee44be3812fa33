import sys
from pathlib import Path

# benchmarks/ is no installed package.
sys.path.append(str(Path(__file__).resolve().parents[2]))
