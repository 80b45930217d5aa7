"""``loupe doctor``: looks at an installation, broken or not, and says what to do."""

from app.doctor.checks import diagnose
from app.doctor.findings import Finding

__all__ = ["Finding", "diagnose"]
