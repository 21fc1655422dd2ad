"""The rules of every store are asserted in a support module, whose assertions pytest explains as well."""

import pytest

pytest.register_assert_rewrite("store_rules")
