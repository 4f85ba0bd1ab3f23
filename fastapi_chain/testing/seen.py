"""The runs of the test that is going on: shown if it fails."""

from fastapi_chain.run import Run

runs: list[Run] = []
"""What `run_inline` and `chain_client` have run since the test began."""
