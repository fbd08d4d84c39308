"""The drawn cats."""

import numpy as np
import pytest

from models.pictures.cat_traits import COATS
from models.pictures.cats import HELD_OUT, cat_pixels, draw_cat, label_of
from models.pictures.source import CatSource


@pytest.mark.parametrize("size", [32, 64])
def test_an_index_is_always_the_same_picture_whatever_was_drawn_before(size: int) -> None:
    alone = np.asarray(draw_cat(1234, size)[0])
    draw_cat(99, size)
    among, _ = cat_pixels(range(1230, 1240), size)
    assert alone.shape == (size, size, 3)
    assert alone.dtype == np.uint8
    np.testing.assert_array_equal(alone, among[4])


def test_the_label_is_the_index_modulo_the_eight_coats_in_their_published_order() -> None:
    assert COATS == (
        "black",
        "brown_tabby",
        "calico",
        "ginger_tabby",
        "grey",
        "siamese",
        "tuxedo",
        "white",
    )
    _, labels = cat_pixels(range(16))
    assert labels.tolist() == [*range(8), *range(8)]
    assert label_of(HELD_OUT) == draw_cat(HELD_OUT)[1] == 0


def test_no_picture_repeats_and_held_out_pictures_are_none_of_the_training_pictures() -> None:
    training, _ = CatSource().take(0, 400)
    held_out, _ = cat_pixels(range(HELD_OUT, HELD_OUT + 400))
    assert len({picture.tobytes() for picture in (*training, *held_out)}) == 800


def test_an_index_and_its_held_out_twin_are_seeded_apart() -> None:
    # 2**40 + 257 is the same generator as 257, so the border must not be there.
    assert draw_cat(257)[0].tobytes() == draw_cat(2**40 + 257)[0].tobytes()
    assert draw_cat(257)[0].tobytes() != draw_cat(HELD_OUT + 257)[0].tobytes()


def test_training_cannot_reach_the_held_out_range() -> None:
    source = CatSource()
    source.take(HELD_OUT - 1, 1)
    with pytest.raises(AssertionError):
        source.take(HELD_OUT - 1, 2)


def test_both_sizes_show_the_same_cat() -> None:
    for index in range(8):
        small = np.asarray(draw_cat(index, 32)[0], np.float64)
        large = np.asarray(draw_cat(index, 64)[0].reduce(2), np.float64)
        other = np.asarray(draw_cat(index + 8, 64)[0].reduce(2), np.float64)
        assert np.abs(small - large).mean() < 0.5 * np.abs(small - other).mean()


def test_coats_differ_more_than_cats_of_one_coat() -> None:
    pixels, labels = cat_pixels(range(800))
    means = np.stack([pixels[labels == c].mean(axis=0) for c in range(8)])
    heads = means[:, 8:26, 8:24].reshape(8, -1)
    distances = np.abs(heads[:, None] - heads[None]).mean(axis=-1) + np.eye(8) * 1e9
    halves = [np.abs(pixels[labels == c][:50].mean(0) - pixels[labels == c][50:].mean(0)).mean() for c in range(8)]
    assert distances.min() > max(halves)


def test_nearest_class_mean_tells_the_coats_of_held_out_cats_apart() -> None:
    pixels, labels = cat_pixels(range(1600))
    means = np.stack([pixels[labels == c].mean(axis=0) for c in range(8)])[:, 8:26, 8:24]
    unseen, truth = cat_pixels(range(HELD_OUT, HELD_OUT + 400))
    distances = ((unseen[:, None, 8:26, 8:24] - means[None]) ** 2).sum(axis=(2, 3, 4))
    assert (distances.argmin(axis=1) == truth).mean() > 0.9


@pytest.mark.parametrize(("index", "size", "message"), [(-1, 32, "0 or more"), (0, 48, "32 or 64")])
def test_what_cannot_be_drawn_is_refused(index: int, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_cat(index, size)
