"""pytest rewrites the assertions of the rules that every store keeps, which are in a support module."""

import pytest

pytest.register_assert_rewrite("store_rules", "ledger_rules")
