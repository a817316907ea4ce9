"""A Kubernetes control plane of our own: its programs built with Go, run as plain processes on loopback."""
