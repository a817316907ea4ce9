"""What needs a real cluster is collected only where one is named."""

from __future__ import annotations

import os

collect_ignore = [] if os.environ.get("SBKUBE_TEST_KUBECONFIG") else ["test_releases_on_a_cluster.py"]
