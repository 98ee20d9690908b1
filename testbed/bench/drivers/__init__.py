"""One small program per measured system, run in that system's own venv: stdlib at import time."""
