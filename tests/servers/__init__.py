"""Real servers on loopback: they count what is asked of them, record what it said, and misbehave on request."""
