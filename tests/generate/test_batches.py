"""The batch size that pays, with the times of cards that are given."""

import pytest

from genrobust.generate.batches import best_batch
from genrobust.generate.calls import OutOfMemory


def card(fits, fixed, each):
    """Draws n images in ``fixed + n * each`` seconds, and has room for `fits` at once."""

    def seconds(count):
        asked.append(count)
        if count > fits:
            raise OutOfMemory(f"out of memory with {count}")
        return fixed + count * each

    asked = []
    seconds.asked = asked
    return seconds


@pytest.mark.parametrize(
    ("fits", "fixed", "each", "most", "best"),
    [
        (20, 10, 0.01, 256, 16),  # as at 512 px: each doubling pays, and 32 do not fit
        (1000, 0.2, 1, 256, 2),  # as at 1024 px: two at once gain 9 %, four gain 4.8 % more
        (1000, 0, 1, 256, 1),  # nothing is gained
        (1000, 10, 0.01, 64, 64),  # the shard has no more
        (1, 10, 0.01, 256, 1),
    ],
)
def test_it_doubles_until_it_does_not_fit_or_gains_nothing(fits, fixed, each, most, best, caplog):
    seconds = card(fits, fixed, each)
    assert best_batch(seconds, most) == best
    assert ("cannot be drawn (out of memory" in caplog.text) == (max(seconds.asked) > fits)


def test_the_first_call_of_a_size_may_take_long():
    draw, begun = card(1000, 10, 0.01), set()

    def seconds(count):
        first = 0 if count in begun else 60
        begun.add(count)
        return first + draw(count)

    assert best_batch(seconds, 64) == 64


def test_a_card_without_room_for_one_image_is_an_error():
    with pytest.raises(OutOfMemory):
        best_batch(card(0, 1, 1))
