"""What a browser may do with the page: nothing but show it. Imported by the API, so without matplotlib."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path

STYLE_SHEET, TEMPLATE = (Path(__file__).parent / name for name in ("report.css", "report.html.j2"))
STYLE = STYLE_SHEET.read_text(encoding="utf-8")
FORM = hashlib.sha256(STYLE.encode() + TEMPLATE.read_bytes()).hexdigest()
"""Another one when a page of the same evaluation would look otherwise."""
_DIGEST = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

META_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; base-uri 'none'; form-action 'none'"
)
"""Within the page: it holds where a person opens the file."""
POLICY = f"{META_POLICY}; frame-ancestors 'none'; sandbox"
"""Of the answer; a page itself cannot say the last two."""
