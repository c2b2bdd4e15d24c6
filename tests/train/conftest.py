from __future__ import annotations

import pytest
from photographs import photograph
from PIL import Image
from small_job import Job, small_job


@pytest.fixture(scope="session")
def job() -> Job:
    return small_job()


@pytest.fixture(scope="session")
def photographs() -> list[Image.Image]:
    """Images like photographs, in sizes that are no multiples of a JPEG's blocks."""
    return [photograph(*size, seed) for seed, size in enumerate([(250, 187), (187, 250), (201, 99), (160, 160)])]
