"""Batches that are read ahead: their order, how far ahead, and errors at their place."""

from contextlib import closing

import pytest
import torch

from genrobust.core import feed

CPU = torch.device("cpu")


def test_batches_come_in_order_and_the_next_one_is_read_meanwhile():
    read = []

    def batches():
        for number in range(4):
            read.append(number)
            yield torch.tensor([number]), torch.tensor([10 * number])

    for number, (images, labels) in enumerate(feed(batches(), CPU)):
        assert (images.item(), labels.item()) == (number, 10 * number)
        assert len(read) <= number + 2
    assert read == [0, 1, 2, 3]


def test_an_error_of_reading_comes_where_its_batch_would():
    def batches():
        yield (torch.tensor([0]),)
        raise OSError("the disk is gone")

    found = feed(batches(), CPU)
    assert next(found)[0].item() == 0
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)


def test_who_stops_early_reads_no_more():
    read = []
    with closing(feed(((torch.tensor([read.append(n) or n]),) for n in range(100)), CPU)) as found:
        next(found)
    assert len(read) <= 2
