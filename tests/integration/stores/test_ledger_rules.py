"""Ledgers keep their rules on the stores of AWS, on each stand-in."""

import pytest
from ledger_rules import IDS, LedgerRules, shared_payload

from pipeline.claimcheck import ledger
from pipeline.errors import StoreDeniedError, StoreUnavailableError
from pipeline.stores.dynamodb.store import DynamoDBStore
from pipeline.stores.s3.store import S3Store

pytestmark = pytest.mark.aws


class TestS3(LedgerRules):
    @pytest.fixture
    def store(self, aws):
        store = S3Store(aws.bucket(), "claims")
        yield store
        store.close()

    @pytest.mark.parametrize("fault", ["lose", "reset"])
    def test_a_mark_whose_answer_is_lost_counts_once(self, kept, proxy, fault):
        """A write that S3 has done, and whose answer is lost, is one end: also if it is sent again."""
        key = shared_payload(kept, 2)
        getattr(proxy, fault)("PutObject", times=1)
        while ledger.mark(kept, {key: IDS[:1]}).left:
            pass

        assert ledger.mark(kept, {key: IDS[:1]}).released == set()
        assert ledger.mark(kept, {key: IDS[1:2]}).released == {key}

    @pytest.mark.parametrize(
        ("status", "kind"), [(403, StoreDeniedError), (503, StoreUnavailableError)], ids=["denied", "busy"]
    )
    def test_an_error_of_the_store_leaves_all_as_it_was(self, kept, proxy, status, kind):
        """What is not marked has its error, and a later mark counts it."""
        key = shared_payload(kept, 1)
        proxy.fail("GetObject", status=status, content=b"")
        left = ledger.mark(kept, {key: IDS[:1]}).left
        proxy.heal()

        assert isinstance(left[key], kind)
        assert ledger.mark(kept, {key: IDS[:1]}).released == {key}


class TestDynamoDB(LedgerRules):
    @pytest.fixture
    def store(self, aws):
        return DynamoDBStore(aws.table(), "claims")
