"""Put the printed tables of `benchmarks/results` into README.md, between their marks: `python benchmarks/readme.py`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
MARK = re.compile(r"(<!-- begin (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """README's text with every marked table as its benchmark printed it; headings become bold lines."""

    def table(match: re.Match[str]) -> str:
        printed = (ROOT / "benchmarks" / "results" / match[2]).read_text(encoding="utf-8").strip()
        printed = re.sub(r"^#+ (.*)$", r"**\1**", printed, flags=re.MULTILINE)
        return f"{match[1]}{printed}\n{match[3]}"

    return MARK.sub(table, text)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text(encoding="utf-8")), encoding="utf-8")
