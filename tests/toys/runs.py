"""Changes to a run's settings that pass for its own, to try what lies behind that check."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def write_settings(run: Path, text: str) -> None:
    """Give a run these settings, as if it had begun with them."""
    (run / "config.json").write_text(text, encoding="utf-8")
    made_by = json.loads((run / "piplay.json").read_text(encoding="utf-8"))
    made_by["settings"] = hashlib.sha256(text.encode()).hexdigest()
    (run / "piplay.json").write_text(json.dumps(made_by), encoding="utf-8")
