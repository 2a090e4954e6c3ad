"""A small made-up web site with the traps of the example site, in other words: the handbook of a dairy.

    site = second_site(seed=7)
    with serve(site.pages) as server: ...

What is on each page follows from how it was made, so `site.truth` is known without a look at it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.site_checks import Truth
from tests.sites import Page, redirect

HOST = "http://handbook.dairy.test/"
UNFETCHED = "A secret recipe for rennet."  # stands on pages that must not be kept, and nowhere else

_ENGLISH = [
    ("the cheesemaker", "our youngest herder", "the milk inspector", "a visiting pupil", "the night shift", "the driver"),
    ("turns", "washes", "weighs", "labels", "tastes", "carries", "photographs", "counts", "salts"),
    ("every wheel of mountain cheese", "the copper kettles", "three tubs of fresh butter", "the linen cloths",
     "the empty churns", "a sample of raw milk", "the wooden shelves", "the brine"),
    ("in the lower cellar", "behind the old barn", "beside the loading ramp", "under the stone arch", "near the spring"),
    ("before the first train arrives", "while the whey is still warm", "as soon as the snow has melted",
     "whenever the thermometer falls", "after the market closes", "until somebody rings the bell"),
]  # fmt: skip
_ITALIAN = [
    ("il casaro", "la nostra pastora più giovane", "l'ispettore del latte", "un allievo in visita", "il turno di notte"),
    ("gira", "lava", "pesa", "assaggia", "porta", "fotografa", "conta", "sala"),
    ("ogni forma di formaggio di montagna", "le caldaie di rame", "tre vasche di burro fresco", "i teli di lino",
     "i bidoni vuoti", "un campione di latte crudo", "gli scaffali di legno"),
    ("nella cantina più bassa", "dietro la vecchia stalla", "accanto alla rampa", "sotto l'arco di pietra"),
    ("prima che arrivi il primo treno", "perché il siero è ancora caldo", "quando la città si sveglia",
     "finché qualcuno suona la campana", "dopo la chiusura del mercato"),
]  # fmt: skip
_PHRASES = {"en": _ENGLISH, "it": _ITALIAN}


@dataclass
class SecondSite:
    """The pages of a site, and what is true of them."""

    pages: dict[str, Page]
    truth: list[Truth]


def second_site(seed: int = 7) -> SecondSite:
    """The same site for the same seed."""
    made = _Maker(random.Random(seed))
    made.guides()
    made.copies()
    made.latin()
    made.contacts()
    made.traps()
    made.entrances()
    return SecondSite(made.pages, made.truth)


class _Maker:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.pages: dict[str, Page] = {}
        self.truth: list[Truth] = []
        self.linked: list[str] = []  # from the home page

    def add(
        self,
        path: str,
        page: Page,
        kind: str = "page",
        language: str = "en",
        *,
        linked: bool = True,
        **more: object,
    ) -> None:
        self.pages["/" + path] = page
        self.truth.append(Truth(path, kind, language, **more))  # type: ignore[arg-type]
        if linked:
            self.linked.append("/" + path)

    def prose(self, language: str = "en", words: int = 150) -> list[str]:
        """Paragraphs that no other page has."""
        paragraphs = []
        while words > 0:
            sentences = []
            for _ in range(4):
                sentence = " ".join(self.chance.choice(part) for part in _PHRASES[language])
                sentences.append(sentence[0].upper() + sentence[1:] + ".")
                words -= len(sentence.split())
            paragraphs.append(" ".join(sentences))
        return paragraphs

    def guides(self) -> None:
        """Pages of two languages, each about something else; the last one's text is read again for its copies."""
        self.texts: dict[str, list[str]] = {}
        for number in range(9):
            self.texts[f"guide/{number}.html"] = self.prose("en", 100 + 60 * number)
            self.texts[f"guida/{number}.html"] = self.prose("it", 100 + 60 * number)
        for path, paragraphs in self.texts.items():
            language = "en" if path.startswith("guide") else "it"
            self.add(path, _page(f"Handbook {path}", paragraphs, language), language=language, cluster=path)

    def copies(self) -> None:
        """The same pages elsewhere: byte for byte, in another frame, and with another last line."""
        for number in range(3):
            path = f"guide/{number}.html"
            self.add(f"mirror/{path}", self.pages["/" + path], "mirror", cluster=path)
        for number in (2, 3):
            path = f"guide/{number}.html"
            article = _article(f"Handbook {path}", self.texts[path])
            self.add(
                f"print/{path}", Page(f"<html lang=en><body>{article}</body></html>"), "print", cluster=path
            )
        path = "guide/4.html"  # HTML may leave out the tags of head and body
        bare = f"<!doctype html><title>Handbook {path}</title><main>{_article(f'Handbook {path}', self.texts[path])}</main>"
        self.add(f"bare/{path}", Page(bare), "print", cluster=path)
        for number in (6, 7, 8):
            path = f"guida/{number}.html"
            changed = [
                *self.texts[path],
                f"Riveduto dal gruppo {number} in primavera, prima della salita ai pascoli alti.",
            ]
            self.add(f"2025/{path}", _page(f"Handbook {path}", changed, "it"), "version", "it", cluster=path)

    def latin(self) -> None:
        """Italian with accents in ISO 8859-1, told by the server, by the page, by nobody; and the same in UTF-8."""
        paragraphs = self.prose("it", 200)
        texts = {
            "told.html": ("", "text/html; charset=ISO-8859-1", "latin-1"),
            "meta.html": ('<meta charset="iso-8859-1">', "text/html", "latin-1"),
            "silent.html": ("", "text/html", "latin-1"),
            "utf8.html": ("", "text/html; charset=utf-8", "utf-8"),
        }
        for name, (head, kind, encoding) in texts.items():
            page = _page("La città", paragraphs, "it", head=head)
            self.add(
                f"latin/{name}", Page(str(page.body).encode(encoding), kind), "latin1", "it", cluster="latin"
            )

    def contacts(self) -> None:
        """Personal data in running text, tables, code, links and a title."""
        emails = [
            f"{name}{self.chance.randint(10, 99)}@handbook.dairy.test"
            for name in ("rosa", "beat.frey", "m_keller")
        ]
        phones = [
            f"+44 20 7946 0{self.chance.randint(100, 999)}",
            f"+44 (0)117 496 0{self.chance.randint(100, 999)}",
        ]
        ibans = [iban("DE", self.chance, 18), iban("CH", self.chance, 17, " ")]
        first = [
            *self.prose("en", 60),
            f"Write to {emails[0]} or call {phones[0]} when a delivery is late.",
            f"Invoices are paid to {ibans[0]} within thirty days.",
            f"<a href='mailto:{emails[1]}'>{emails[1]}</a> answers questions about milk.",
        ]  # fmt: skip
        self.add(
            "contacts.html",
            _page(f"Contacts of {emails[0]}", first),
            secrets=(emails[0], emails[1], phones[0], ibans[0]),
        )
        second = [
            *self.prose("it", 60),
            f"Scrivete a {emails[2]} oppure telefonate al {phones[1]}.",
            f"<table><tr><th>Conto<th>Titolare</tr><tr><td>{ibans[1]}<td>Caseificio</tr></table>",
        ]
        self.add(
            "contatti.html",
            _page("Contatti", second, "it"),
            language="it",
            secrets=(emails[2], phones[1], ibans[1]),
        )

    def traps(self) -> None:
        """What a crawler must not take, and what comes to nothing."""
        secret = [*self.prose(), UNFETCHED, "Ask nobody@handbook.dairy.test for the key."]
        self.add("staff/rota.html", _page("Rota", secret), "disallowed")
        self.add(
            "drafts/plan.html", _page("Plan", secret, head="<meta name=robots content=noindex>"), "noindex"
        )
        silent = _page("Budget", secret)
        self.add("drafts/budget.html", Page(silent.body, headers={"X-Robots-Tag": "noindex"}), "noindex")
        self.add("home", redirect("/"), "redirect")
        self.add("news", redirect("/latest", 302), "redirect")
        self.add("latest", redirect("/guide/1.html"), "redirect", linked=False)
        self.add(
            "start.html",
            Page('<meta http-equiv="refresh" content="0; url=/"><p>You will be redirected.'),
            "redirect",
        )
        self.add("empty.html", Page("<html><body><script>var x = 1</script></body></html>"), "empty", "")
        for number in range(3):
            self.add(f"tag/{number}.html", _page("Tag", [f"Pages about cheese {number}."]), "short")
        for depth in range(1, 8):
            page = _page(
                f"Level {depth}", self.prose(), links=[f"/deep/{depth + 1}.html"] if depth < 7 else []
            )
            self.add(f"deep/{depth}.html", page, linked=depth == 1)
        self.add("archive/orphan.html", _page("Orphan", self.prose()), linked=False)
        self.linked += [
            "/index.html",
            "/guide/missing.html",
            "/nothing/here.html",
            "/guide/3.html?utm_source=mail#top",
            "/photo.jpg",
        ]

    def entrances(self) -> None:
        """The home page under two names, robots.txt, and a sitemap that knows one page more than the links do."""
        home = _page("Handbook of the dairy", self.prose(), links=self.linked)
        for path in ("", "index.html"):
            self.add(path, home, cluster="home")
        robots = f"User-agent: *\nDisallow: /staff/\nSitemap: {HOST}sitemap.xml\n"
        listed = [
            f"<url><loc>{HOST}{path}</loc></url>" for path in ("", "guide/1.html", "archive/orphan.html")
        ]
        self.pages["/robots.txt"] = Page(robots, "text/plain")
        self.pages["/sitemap.xml"] = Page(f"<urlset>{''.join(listed)}</urlset>", "text/xml")


def _page(
    title: str, paragraphs: Sequence[str], language: str = "en", *, head: str = "", links: Sequence[str] = ()
) -> Page:
    """A page in the frame of the site: navigation before the article, small print after it."""
    listed = "".join(f"<li><a href='{link}'>{link}</a></li>" for link in links)
    return Page(
        f"<!doctype html><html lang={language}><head>{head}<title>{title}</title></head><body>"
        "<nav><ul><li><a href='/'>Home</a></li><li><a href='/guide/1.html'>Guide</a></li></ul></nav>"
        f"<main><article>{_article(title, paragraphs)}</article></main><nav><ul>{listed}</ul></nav>"
        "<footer><p>Dairy of the upper valley. All rights reserved.</p></footer></body></html>"
    )


def _article(title: str, paragraphs: Sequence[str]) -> str:
    return f"<h1>{title}</h1>" + "".join(
        text if text.startswith("<") else f"<p>{text}</p>" for text in paragraphs
    )


def iban(country: str, chance: random.Random, digits: int, gap: str = "") -> str:
    """An account number with a right checksum (ISO 7064, mod 97); `gap` stands between groups of four."""
    account = "".join(chance.choice("0123456789") for _ in range(digits))
    moved = account + "".join(str(ord(letter) - 55) for letter in country) + "00"
    whole = f"{country}{98 - int(moved) % 97:02d}{account}"
    return gap.join(whole[start : start + 4] for start in range(0, len(whole), 4))
