# Two doors: `make demo` and `make test`. Both make the environment first, with nothing but Python 3.11+, git and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo ui test check ci docs format clean

.venv/.installed: pyproject.toml constraints.txt scripts/install
	PYTHON=$(PYTHON) scripts/install
	touch $@

demo: .venv/.installed
	$(BIN)/python examples/demo.py

ui: .venv/.installed
	$(BIN)/python examples/ui.py

test: .venv/.installed
	$(BIN)/pytest -n 2 --dist loadfile

check: .venv/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile

ci: .venv/.installed
	$(BIN)/pytest -n 2 --dist loadfile -rs -m "slow and not gpu" --durations 25

docs: .venv/.installed
	$(BIN)/python docs/make_reference.py

format: .venv/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv demo-lake
