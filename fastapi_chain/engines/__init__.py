"""Where a run runs: in this process (`memory`), or durably."""
