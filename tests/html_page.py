"""An HTML page as tests look at it, and a text that must not become a part of one."""

from html.parser import HTMLParser

EVIL = "<script>alert(1)</script>\" onerror='x' `|*_ {{ 7*7 }} &amp;"


class Page(HTMLParser):
    """The elements of a page as (tag, attributes), its text, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script" and self.cdata_elem == "script":
            self.scripts.append(data)
        else:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]
