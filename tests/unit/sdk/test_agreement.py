"""A registered function and what it is called with speak of the same classes, or it is refused."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from gossamer.agreement import check_agreement
from gossamer.client import Client
from gossamer.submitter import Submitter
from gossamer_mesh.code.function import describe, describe_bound
from gossamer_mesh.errors import PayloadError
from gossamer_mesh.payload.brought import classes_brought
from gossamer_mesh.payload.dump import dump_arguments
from gossamer_mesh.registered import Registered
from tests.unit.sdk.test_names import Party


class Item:
    pass


class Another:
    pass


def is_item(it: object) -> bool:
    return isinstance(it, Item)


def knows_no_class(it: object) -> object:
    return it


@pytest.fixture
def party() -> Iterator[Party]:
    made = Party()
    yield made
    made.close()


@pytest.fixture
def ann(party: Party) -> Client:
    client = party.client("ann")
    party.register(client, is_item, name="is_item")
    party.register(client, knows_no_class, name="knows_no_class")
    return client


def test_a_class_that_the_function_has_of_its_own_is_refused_and_nothing_is_sent(
    party: Party, ann: Client
) -> None:
    mesh = Submitter(ann, {})
    (entry,) = party.waited(lambda: ann.names.find("is_item"))
    assert entry.form == "source"
    for call in (
        lambda: mesh.submit("is_item", [Item()]),
        lambda: mesh.options(retries=0).submit("is_item@1", it=Item()),
        lambda: mesh.submit_chunk("is_item", [(1,), (Item(),)]),
        lambda: mesh.explain("is_item", Item()),
    ):
        with pytest.raises(PayloadError, match="is_item@1 has a class Item of its own"):
            party.waited(call)
    party.network.run_for(0.1)
    assert ann._keeper.unended == 0


def test_other_classes_and_functions_that_have_none_are_taken(party: Party, ann: Client) -> None:
    # There is no agent, and the network's clock runs ahead while the users' threads are busy.
    mesh = Submitter(ann, {}).options(wait="1d")
    party.waited(
        lambda: mesh.submit("is_item", Another()),
        lambda: mesh.submit("is_item", 1),
        lambda: mesh.submit("knows_no_class", Item()),
        lambda: mesh.submit(is_item, Item()),
    )
    party.network.run_for(0.1)
    assert ann._keeper.unended == 4


def test_a_pickle_of_the_same_process_has_the_same_class_and_another_processs_has_not() -> None:
    code = describe_bound(is_item)
    assert (code.form, describe(is_item).form) == ("pickle", "source")
    entry = Registered(owner="ann", name="is_item", version=1, digest=code.digest, content="")
    payload = dump_arguments((Item(),), {}, what="is_item")
    check_agreement(entry, code, payload)
    ((_, _, tracker),) = classes_brought(payload)
    elsewhere = code.code.replace(tracker.encode(), b"0" * len(tracker))
    with pytest.raises(PayloadError, match="isinstance would not hold"):
        check_agreement(entry, msgspec.structs.replace(code, code=elsewhere), payload)
    other = dump_arguments((Another(),), {}, what="is_item")
    check_agreement(entry, msgspec.structs.replace(code, code=elsewhere), other)
