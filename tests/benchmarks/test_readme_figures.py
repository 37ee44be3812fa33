"""The READMEs and the measurements give the times on a CPU as the file of results has them."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOWN = {
    "README.md": ("paddle", "onnxruntime_plain", "ours_fp32", "ours_bf16", "ours_int8"),
    "README.zh-CN.md": ("paddle", "onnxruntime_plain", "ours_fp32", "ours_bf16", "ours_int8"),
}


@pytest.mark.parametrize("page", SHOWN)
def test_times_on_a_cpu_are_those_of_the_results(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for result in json.loads((ROOT / "benchmarks" / "results" / "cpu.json").read_text()):
        row, size = result["name"].removeprefix("row"), "x".join(map(str, result["size"]))
        times = " | ".join(f"{result['median_s'][name]:.3f}" for name in SHOWN[page])
        assert f"| {row} | {size} | {times} |" in text
