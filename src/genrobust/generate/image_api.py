"""A client of the images API of OpenAI, which many servers speak: asks again what failed, and keeps to its bounds."""

from __future__ import annotations

import base64
import email.utils
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar
from urllib.parse import urljoin, urlsplit

import numpy as np
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError

from genrobust.core import GenrobustError, UserError, parse_json
from genrobust.data import read_image
from genrobust.generate.server import ServerConfig

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # between tries; each is twice as long as the one before
LONGEST_WISH_S = 600.0  # of a server's Retry-After; what asks for more is not waited for
LARGEST_ANSWER = 2**28  # bytes: ten images of 2,048 px, as PNG in base64, are 170 MB
CONNECT_S = 10.0
TIMED_OUT, BUSY = 408, 503  # after another status from 500 on, an image may have been drawn that is to be paid
PASSING = {TIMED_OUT, 409, 425, 429}  # statuses below 500 that another try may not get
REFUSED = {"content_policy_violation", "moderation_blocked", "content_filter"}  # codes of a safety checker
UNPAID = {"insufficient_quota", "billing_hard_limit_reached"}
WRONG_SIZES = 8  # in a row, from which on no other try will help: each may have to be paid
SHOWN = 200  # characters of what a server says
log = logging.getLogger(__name__)
T = TypeVar("T")


class _Fault(Exception):
    """A fault that another try may not meet; `pause` is how many seconds the server wants to be left alone."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class _Bearer(requests.auth.AuthBase):
    """Adds the key to requests; without one it keeps requests from looking for a password in ~/.netrc."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class ImageApi:
    """The images API at a server; threads may share it.

    Args:
        model: The server's name of the model.
        key: The API key, None where the server wants none.
    """

    def __init__(self, config: ServerConfig, model: str, key: str | None) -> None:
        self._config, self._model, self._key = config, model, key
        self._where = f"the server at {config.url}"
        self._session = requests.Session()
        self._session.auth = _Bearer(key)
        pool = HTTPAdapter(pool_connections=2, pool_maxsize=config.concurrency)
        self._session.mount("http://", pool)
        self._session.mount("https://", pool)
        self._chance = random.Random()  # of the pauses alone
        self._lock, self._asked, self._told = threading.Lock(), 0, set[str]()
        self.stop = threading.Event()  # ends the pauses of all threads
        self._of_wrong_size = 0  # images in a row

    def check(self) -> None:
        """Raise UserError where no server answers, it refuses the key, or it lists its models and has not this one."""
        try:
            status, body, _ = self._persist(lambda: self._answer("GET", f"{self._config.url}/v1/models"), retries=2)
        except GenrobustError as error:
            raise UserError(
                f"generator.server.url: no server answers at {self._config.url} ({error.__cause__}): start it, or give "
                "its address"
            ) from error
        if status in (401, 403):
            self._refuse(status, body)
        names = _model_names(body) if status == 200 else []
        if names and self._model not in names:
            known = ", ".join(map(self._plain, names[:10])) + (" and others" if len(names) > 10 else "")
            raise UserError(
                f"{self._where} has no model {self._model!r}; it has {known}: set generator.server.model to one of "
                "these, or start the server with that model"
            )

    def images(self, body: Mapping[str, Any], size: tuple[int, int] | None) -> list[np.ndarray] | None:
        """Return the images of a request, RGB uint8 [H, W, 3], at least one and no more than its ``n``.

        Args:
            body: The fields of the request, beside the model.
            size: Width and height that the images must have; None takes any.

        Returns:
            None where the server's safety checker refuses the request.

        Raises:
            UserError: The server refuses the key, the model or a field.
            GenrobustError: It failed too often, or `max_images` is reached.
        """
        return self._persist(lambda: self._try(body, size), self._config.retries)

    def _persist(self, attempt: Callable[[], T], retries: int) -> T:
        tries = 1
        while True:
            try:
                return attempt()
            except _Fault as fault:
                ends = tries > retries or self.stop.is_set() or fault.pause > LONGEST_WISH_S
                if not ends:
                    self._tell(str(fault))
                    pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (tries - 1)) * self._chance.uniform(0.5, 1)
                    ends = self.stop.wait(max(pause, fault.pause))  # where another request ended the work meanwhile
                if ends:
                    times = f"{tries} tries, the last" if tries > 1 else "one try"
                    raise GenrobustError(
                        f"{self._where} fails ({times}: {fault}): look at its log, and rerun: completed shards are kept"
                    ) from fault
                tries += 1

    def _try(self, body: Mapping[str, Any], size: tuple[int, int] | None) -> list[np.ndarray] | None:
        count = int(body.get("n", 1))
        self._reserve(count)
        url = f"{self._config.url}/v1/images/generations"
        status, answer, pause = self._answer("POST", url, {"model": self._model, **body}, count)
        if status == 200:
            return self._decoded(answer, count, size)
        if status == BUSY or (status < 500 and status != TIMED_OUT):  # what a server refuses, it does not draw
            self._reserve(-count)
        code, said = _said(answer)
        if code in REFUSED:
            return None
        if (status in PASSING or status >= 500) and code not in UNPAID:
            raise _Fault(self._plain(f"HTTP {status} {said}"), pause)
        self._refuse(status, answer)

    def _answer(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, reserved: int = 0
    ) -> tuple[int, bytes, float]:
        """Return status and content of an answer, and how many seconds the server wants to be left alone."""
        until = time.monotonic() + self._config.timeout
        try:
            timeout = (min(CONNECT_S, self._config.timeout), self._config.timeout)
            with self._session.request(
                method, url, json=body, timeout=timeout, stream=True, allow_redirects=False
            ) as response:
                content = _content(response, until)
                return response.status_code, content, _wish(response.headers.get("Retry-After"))
        except requests.RequestException as error:
            cause = getattr(error.args[0] if error.args else None, "reason", None)
            if isinstance(cause, NewConnectionError):
                self._reserve(-reserved)
                raise _Fault("it takes no connection") from error
            raise _Fault(_why(error)) from error

    def _decoded(self, answer: bytes, count: int, size: tuple[int, int] | None) -> list[np.ndarray]:
        try:
            found = parse_json(answer)
            data = found["data"][:count]
            images = [np.asarray(read_image(self._bytes(one), "of the server's answer")) for one in data]
        except (ValueError, LookupError, TypeError, UserError) as error:
            why = str(error).partition(". Replace")[0]
            raise _Fault(self._plain(f"an answer without an image that can be read: {why}")) from error
        if not images:
            raise _Fault("an answer without images")
        for image in images:
            height, width = image.shape[:2]
            if size is not None and (width, height) != size:
                self._of_wrong_size += 1
                said = f"an image of {width} x {height} pixels in place of {size[0]} x {size[1]}"
                if self._of_wrong_size < WRONG_SIZES:
                    raise _Fault(said)
                raise UserError(
                    f"{self._where} sends {said}, time after time: give generator.width and generator.height that it "
                    "draws, or leave size out of generator.server.sends"
                )
        self._of_wrong_size = 0
        return images

    def _bytes(self, one: Mapping[str, Any]) -> bytes:
        """The encoded image of an item: base64, or behind a URL, which is fetched without the key elsewhere."""
        if one.get("b64_json"):
            return base64.b64decode(one["b64_json"], validate=True)
        url = urljoin(f"{self._config.url}/", one["url"])
        own = urlsplit(url)[:2] == urlsplit(self._config.url)[:2]
        if not own and urlsplit(url).scheme != "https":
            raise ValueError("its URL is neither https nor of the server itself")
        auth = self._session.auth if own else _Bearer(None)
        try:
            with self._session.get(
                url, auth=auth, timeout=self._config.timeout, stream=True, allow_redirects=False
            ) as response:
                content = _content(response, time.monotonic() + self._config.timeout)
        except requests.RequestException as error:
            raise ValueError(f"its URL: {_why(error)}") from error
        if response.status_code != 200:
            raise ValueError(f"its URL: HTTP {response.status_code}")
        return content

    def _reserve(self, count: int) -> None:
        """Count images before they are asked for, and back where none were drawn."""
        with self._lock:
            if count > 0 and self._asked + count > self._config.max_images:
                raise GenrobustError(
                    f"generator.server.max_images: this run has asked for {self._asked:,} images, repeated ones among "
                    "them, and needs more: look at what they cost, raise it, and rerun: completed shards are kept"
                )
            self._asked += count

    def _refuse(self, status: int, answer: bytes) -> NoReturn:
        """Raise what an answer means that no other try would change."""
        code, said = _said(answer)
        said = self._plain(f"HTTP {status} {said}")
        if code in UNPAID:
            raise GenrobustError(f"{self._where} wants to be paid ({said}): completed shards are kept")
        if status in (401, 403):
            name = self._config.key_variable
            remedy = f"look at the environment variable {name}" if name else "name its variable in server.key_variable"
            raise UserError(f"{self._where} refuses the API key, or wants one ({said}): {remedy}")
        if status == 404:
            raise UserError(
                f"{self._where} has no /v1/images/generations, or no model {self._model!r} ({said}): correct "
                "generator.server.url or generator.server.model"
            )
        if status < 400:
            raise UserError(f"{self._where} sends elsewhere ({said}): give that address as generator.server.url")
        raise UserError(
            f"{self._where} refuses the request ({said}): correct generator, or leave what it does not take out of "
            "generator.server.sends"
        )

    def _tell(self, reason: str) -> None:
        """Log a fault, once each reason."""
        with self._lock:
            new = reason not in self._told and len(self._told) < 20
            self._told.add(reason)
        if new:
            log.warning("%s: %s; it is asked again", self._where, reason)

    def _plain(self, text: str) -> str:
        """Return what a server says, on one line of visible characters, without the key, which some servers repeat."""
        text = "".join(c if c.isprintable() else " " for c in text[: 20 * SHOWN])
        text = " ".join((text.replace(self._key, "***") if self._key else text).split())
        return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def in_threads(work: Callable[[int], T], count: int, threads: int, stop: threading.Event) -> list[T]:
    """Return ``work(0)`` to ``work(count - 1)``, done in `threads`; the first error is raised at once, and sets `stop`.

    An interrupt does not wait for the threads: they are daemons, and `stop` tells them to begin nothing more.
    """
    found: dict[int, T] = {}
    errors: list[BaseException] = []
    numbers, done = iter(range(count)), threading.Condition()

    def run() -> None:
        while True:
            with done:
                number = None if stop.is_set() else next(numbers, None)
            if number is None:
                return
            try:
                made = work(number)
            except BaseException as error:
                with done:
                    errors.append(error)
                    done.notify_all()
                return
            with done:
                found[number] = made
                done.notify_all()

    stop.clear()
    try:
        for _ in range(min(threads, count)):
            threading.Thread(target=run, name="images", daemon=True).start()
        with done:
            while not done.wait_for(lambda: errors or len(found) == count, timeout=1):
                pass  # an interrupt that another thread got is seen between two waits
        if errors:
            raise errors[0]
    except BaseException:
        stop.set()
        numbers = iter(())  # a later call clears `stop`, and would let the threads of this one go on
        raise
    return [found[number] for number in range(count)]


def _content(response: requests.Response, deadline: float) -> bytes:
    """The body of a streamed answer, which may be neither too large nor, in all, too slow."""
    parts, size = [], 0
    for part in response.iter_content(2**16):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER:
            raise requests.RequestException(f"an answer of more than {LARGEST_ANSWER:,} bytes")
        if time.monotonic() > deadline:
            raise requests.Timeout
    return b"".join(parts)


def _why(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "no connection by TLS: its certificate, or http where the server wants https"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection broke"
    return str(error) or type(error).__name__


def _wish(text: str | None) -> float:
    """The seconds of a Retry-After header, which holds them or a date; 0 for none."""
    text = (text or "0").strip()
    try:
        if text.isdecimal():
            return float(text)
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _said(answer: bytes) -> tuple[str, str]:
    """The code and the message of an error, of the shapes that servers give it; else what is there."""
    try:
        found = parse_json(answer)
    except ValueError:
        return "", answer[: 2 * SHOWN].decode(errors="replace")
    error = found.get("error", found.get("detail", found)) if isinstance(found, dict) else found
    if isinstance(error, dict):
        return str(error.get("code") or error.get("type") or ""), str(error.get("message") or error)
    return "", str(error)


def _model_names(answer: bytes) -> list[str]:
    try:
        return [str(one["id"]) for one in parse_json(answer)["data"]]
    except (ValueError, LookupError, TypeError):
        return []
