"""The section of a server: what it refuses, and that no message repeats a secret."""

import pytest

from genrobust.recipe import GeneratorConfig, checked

SECRET = "sk_live_0123456789"


def generator(server, **more):
    values = {"engine": "openai", "model": "m", "server": server, **more}
    return checked(GeneratorConfig, values, "generator")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://127.0.0.1:30000", "http://127.0.0.1:30000"),
        ("https://api.example.com/v1/", "https://api.example.com"),
        ("https://example.com/images/v1", "https://example.com/images"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
    ],
)
def test_the_address_may_end_as_servers_print_it(given, kept):
    assert generator({"url": given}).server.url == kept


@pytest.mark.parametrize(
    ("server", "more", "named"),
    [
        (None, {}, "server: input should be"),
        ({}, {}, "server.url: field required"),
        *(({"url": u}, {}, "server.url: give the server's address") for u in ("ftp://a", "localhost:80", "http://")),
        ({"url": "http://a b"}, {}, "server.url: give the server's address alone"),
        ({"url": f"http://me:{SECRET}@a"}, {}, "server.url: give the server's address alone"),
        ({"url": f"http://a?key={SECRET}"}, {}, "server.url: give the server's address alone"),
        ({"url": "http://a", "key_variable": SECRET}, {}, "server.key_variable: give the name of an environment"),
        ({"url": "http://a", "key_variable": "AWS_SECRET_ACCESS_KEY"}, {}, "server.key_variable: give the name"),
        ({"url": "http://a", "key": SECRET}, {}, "unknown key server.key;"),
        ({"url": "http://a", "sends": ["steps"]}, {}, "server.sends.0"),
        ({"url": "http://a", "fields": {"prompt": "x"}}, {}, "fields.prompt: the recipe's own keys fill it in"),
        ({"url": "http://a", "fields": {"size": "1x1"}}, {}, "fields.size: the recipe's own keys fill it in"),
        ({"url": "http://a", "timeout": 0}, {}, "server.timeout: input should be greater than 0"),
        ({"url": "http://a", "max_images": 0}, {}, "server.max_images: input should be greater than or equal to 1"),
        ({"url": "http://a", "sends": ["size", "seed"]}, {"steps": 4}, "steps: server.sends leaves it out"),
        ({"url": "http://a"}, {"scheduler": "unipc"}, "scheduler: this key belongs to mode"),
        ({"url": "http://a"}, {"lora": "x"}, "lora: this key belongs to mode edit, mode labels"),
        ({"url": "http://a"}, {"width": 64}, "give both width and height"),
        ({"url": "http://a"}, {"engine": "diffusers"}, "server: this key belongs to engine openai"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_no_secret_repeated(server, more, named):
    with pytest.raises(ValueError) as raised:
        generator(server, **more)
    assert named in str(raised.value) and SECRET not in str(raised.value)
