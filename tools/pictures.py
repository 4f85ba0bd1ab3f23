"""Draw the graphs in the documentation from its examples, into docs/images: `.venv/bin/python tools/pictures.py`.

tests/docs/test_pictures.py fails when an example has changed and its picture has not.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "docs" / "examples"
FASTAPI_CHAIN = Path(sys.executable).with_name("fastapi-chain")
IMAGES = ROOT / "docs" / "images"

PICTURES = {
    "verbs": "verbs",
    "first-chain": "first_chain",
    "checkout": "checkout",
    "ingestion": "ingestion",
    "webhooks": "webhooks",
    "imports": "imports",
    "branches": "tutorial/branches",
    "fan-out": "tutorial/fan_out",
}
"""The pictures by name, each with the example whose one chain it shows."""


def draw(name: str) -> str:
    """Return the picture of an example as SVG, as `fastapi-chain graph` draws it."""
    folder, _, module = name.rpartition("/")
    command = [str(FASTAPI_CHAIN), "graph", "--app", f"{module}.py", "--format", "svg"]
    return subprocess.run(command, cwd=EXAMPLES / folder, capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Draw all pictures anew; return an exit code."""
    for picture, example in PICTURES.items():
        path = IMAGES / f"{picture}.svg"
        drawn = draw(example)
        changed = not path.exists() or path.read_text() != drawn
        path.write_text(drawn)
        print(f"{path.relative_to(ROOT)}{' is new' if changed else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
