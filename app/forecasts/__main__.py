"""The child that forecasts: ``python -m app.forecasts FOLDER``."""

import sys
from pathlib import Path

from app.child import run_child
from app.forecasts.spec import ForecastSpec
from app.forecasts.work import forecast

if __name__ == "__main__":
    sys.exit(run_child(forecast, ForecastSpec, Path(sys.argv[1])))
