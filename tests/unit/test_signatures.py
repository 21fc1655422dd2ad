"""Signatures that travel beside the payload."""

import pytest
from celery import Celery, chain, chord, group, signature

from pipeline.claimcheck.codec import Codec
from pipeline.deferred import signatures
from pipeline.serializer.serializer import KOMBU_TYPES

app = Celery("links", set_as_current=False)


@app.task(shared=False, name="add")
def add(*args, **kwargs):
    return args, kwargs


def embed_of(**parts):
    return {"callbacks": None, "errbacks": None, "chain": None, "chord": None, **parts}


EMBEDS = [
    embed_of(),
    embed_of(callbacks=[add.s("big", x=1)]),
    embed_of(errbacks=[add.si("e")], chain=[add.s("last"), add.s("next", y=[1])]),
    embed_of(chain=[group([add.s(i) for i in range(3)])]),
    embed_of(chord=chord([add.s(1), add.s(2)], add.s("body"))),
    embed_of(chain=[chain(add.s(1), group(add.s(2), chain(add.s(3), add.s(4))))]),
    embed_of(callbacks=[add.s(1).set(link=[add.s(2)], link_error=[add.s(3)])]),
    embed_of(callbacks=[add.chunks(zip(range(4), range(4), strict=True), 2)]),
]


@pytest.mark.parametrize("embed", EMBEDS)
def test_detached_arguments_come_back(embed):
    """Bare signatures with their arguments attached again equal the originals."""
    before = repr(embed)
    bare, detached = signatures.detach(embed)

    signatures.attach(bare, detached)

    assert bare == plain(embed)
    assert repr(embed) == before


@pytest.mark.parametrize("embed", EMBEDS[1:])
def test_bare_signatures_cannot_be_mistaken_for_whole_ones(embed):
    """No argument is left behind, and calling a bare signature fails instead of losing arguments."""
    bare, detached = signatures.detach(embed)

    assert signatures.is_bare(bare)
    assert detached
    assert "big" not in repr(bare)
    leaf = next(signatures.leaf_signatures(bare))
    for call in ((), (1,)):
        with pytest.raises(TypeError):
            signature(leaf, app=app).apply_async(call)


def test_too_few_arguments_are_noticed():
    """Signatures and bare signatures that do not match in number are rejected."""
    bare, detached = signatures.detach(EMBEDS[2])

    with pytest.raises(IndexError):
        signatures.attach(bare, detached[:-1])


def test_a_group_made_of_a_generator_keeps_its_tasks():
    """Celery evaluates such a group late: its tasks are there all the same, detached or encoded."""
    made = [embed_of(chain=[group(add.s(i) for i in range(3))]) for _ in range(2)]
    bare, detached = signatures.detach(made[0])
    codec = Codec(KOMBU_TYPES)
    through = codec.decode(*codec.encode(made[1]))

    assert [args for args, _ in detached] == [(0,), (1,), (2,)]
    assert len(bare["chain"][0]["kwargs"]["tasks"]) == 3
    assert [task["args"] for task in through["chain"][0]["kwargs"]["tasks"]] == [[0], [1], [2]]


def test_an_embed_without_signatures_is_never_bare():
    """Nothing to detach, nothing to wait for."""
    bare, detached = signatures.detach(embed_of())

    assert detached == []
    assert not signatures.is_bare(bare)


def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        keep = {"task", "args", "kwargs", "options"} <= value.keys()
        nested = value.get("subtask_type") in signatures._COMPOSITES
        return {
            name: item if keep and name in ({"args"} if nested else {"args", "kwargs"}) else plain(item)
            for name, item in value.items()
        }
    return value
