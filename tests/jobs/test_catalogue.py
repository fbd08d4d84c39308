"""The catalogue holds what workers announce, and how many of them are alive."""

from typing import Any

import pytest
from redis import Redis

from jobs.catalogue import Catalogue, announce, withdraw
from jobs.errors import ModelUnknown
from tests import cards


def read(with_store: Any) -> Catalogue:
    catalogue = with_store(lambda store: store.catalogue())
    assert isinstance(catalogue, Catalogue)
    return catalogue


def test_before_any_worker_nothing_is_known(with_store: Any) -> None:
    catalogue = read(with_store)
    assert (catalogue.models, catalogue.default, catalogue.workers) == ({}, None, {})
    for name in (None, "fruit-16"):
        with pytest.raises(ModelUnknown, match="none yet; start a worker"):
            catalogue.find(name)


def test_what_is_announced_is_read_back_the_default_first(with_store: Any, redis: Redis) -> None:
    announce(redis, "w", (cards.PEBBLE, cards.FRUIT), 60)
    catalogue = read(with_store)
    assert list(catalogue.models.items()) == [("pebble-8", cards.PEBBLE), ("fruit-16", cards.FRUIT)]
    assert catalogue.find(None) == cards.PEBBLE
    assert catalogue.find("fruit-16") == cards.FRUIT


def test_workers_are_counted_while_their_word_holds(with_store: Any, redis: Redis) -> None:
    announce(redis, "one", (cards.FRUIT, cards.PEBBLE), 60)
    announce(redis, "two", (cards.FRUIT,), 60)
    announce(redis, "two", (cards.FRUIT,), 60)
    announce(redis, "late", (cards.FRUIT,), -1)
    assert read(with_store).workers == {"fruit-16": 2, "pebble-8": 1}


def test_who_withdraws_leaves_the_model_known(with_store: Any, redis: Redis) -> None:
    announce(redis, "one", (cards.FRUIT,), 60)
    withdraw(redis, "one", ("fruit-16", "pebble-8"))
    catalogue = read(with_store)
    assert (list(catalogue.models), catalogue.workers) == (["fruit-16"], {"fruit-16": 0})


def test_a_model_announced_anew_replaces_the_old_one(with_store: Any, redis: Redis) -> None:
    announce(redis, "one", (cards.FRUIT,), 60)
    newer = cards.FRUIT.model_copy(update={"fingerprint": "sha256:new"})
    announce(redis, "one", (newer,), 60)
    assert read(with_store).find("fruit-16").fingerprint == "sha256:new"


def test_a_sampler_is_found_by_its_name() -> None:
    found = cards.FRUIT.sampler("heun")
    assert found is not None
    assert found.evaluations_per_step == 2
    assert cards.FRUIT.sampler("plms") is None
