"""The settings of a deployment: what is wrong is named, and no value is shown."""

import pytest
from pydantic import ValidationError

from settings import CelerySettings, ClaimCheckSettings

SECRET = "0123456789abcdef"  # pydantic shows the last 24 letters of what it was given
WRONG = {"CLAIMCHECK_SIGNING_KEY": SECRET, "CLAIMCHECK_KMS_KEY_ID": "alias/mine"}
"""Two that do not go together with the defaults."""


def test_what_contradicts_is_named_without_values(monkeypatch):
    """An error about two settings does not show the others, of which one is the signing key."""
    for name, value in WRONG.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match="CLAIMCHECK_KMS_KEY_ID needs") as caught:
        ClaimCheckSettings()

    assert SECRET not in str(caught.value) + repr(caught.value)


def test_what_is_wrong_is_named_without_its_value(monkeypatch):
    """A value that ended up in the wrong variable may be a secret."""
    monkeypatch.setenv("CELERY_TASK_TIME_LIMIT", SECRET)
    with pytest.raises(ValidationError, match="task_time_limit") as caught:
        CelerySettings()

    assert SECRET not in str(caught.value)
