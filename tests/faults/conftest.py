import pytest

from sbkube.engine.stores.files import view


@pytest.fixture
def eager_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views are rewritten as often as anything changes."""
    monkeypatch.setattr(view, "_AT_MOST_EVERY", 0.0)
    monkeypatch.setattr(view, "_SHARE", 0)
