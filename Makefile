lock:
	uv pip compile -q pyproject.toml -o requirements/api.txt
