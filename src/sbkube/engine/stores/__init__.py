"""Where the state of runs is kept: in memory, or in files that survive the process."""
