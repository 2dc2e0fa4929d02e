"""Every link and picture of a document leads somewhere: to a file of the checkout, to a heading, or to https."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    {*ROOT.glob("*.md"), *(path for folder in ("recipes", "verl_softthink") for path in (ROOT / folder).rglob("*.md"))}
)
_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
_CODE = re.compile(r"^(?:```.*?^```$|    .*?$)", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+?)$", re.MULTILINE)


def slugs(text: str) -> set[str]:
    """What the headings of a document are called in links, as GitHub and package indexes call them."""
    headings = _HEADING.findall(_CODE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken(document: Path) -> list[str]:
    """Its links that lead nowhere."""
    text = document.read_text(encoding="utf-8")
    found = []
    for link in (one or other for one, other in _LINK.findall(text)):
        path, _, heading = link.partition("#")
        target = document.parent / path if path else document
        if link.startswith("https://"):
            continue
        if not target.exists() or (heading and heading not in slugs(target.read_text(encoding="utf-8"))):
            found.append(link)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document):
    assert broken(document) == []


def test_links_are_found_and_wrong_ones_are_seen(tmp_path):
    assert len(DOCUMENTS) >= 12 and len(_LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))) >= 20
    document = tmp_path / "a.md"
    document.write_text('# The `one` heading\n[a](#the-one-heading) [b](#other) [c](b.md) <img src="c.png">\n')
    assert broken(document) == ["#other", "b.md", "c.png"]
