"""What the crawler never asks: services of its own machine and network, whatever a page says.

127.0.0.2 plays the public site (allowed by its network), 127.0.0.1 the internal service.
"""

import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address

import pytest

from curate.sources.crawl import CrawlEnd, CrawlJob, crawl
from schemas.errors import SourceError
from tests.hostile import made_up_names
from tests.sites import Page, links, redirect, rows_of, serve

pytest.importorskip("scrapy")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1",
        "169.254.169.254", "168.63.129.16", "192.88.99.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1",
        "2001::1", "2002:7f00:1::", "fc00::1", "fd00::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_internal_addresses_are_refused(address):
    from curate.sources.crawler.guard import refused

    assert refused(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_not(address):
    from curate.sources.crawler.guard import refused

    assert not refused(address)


def test_allow_private_takes_hosts_addresses_and_networks():
    from curate.sources.crawler.guard import Permissions

    allowed = Permissions(["docs.acme.internal", "*.lab.internal", "10.1.0.0/16", "192.168.1.7"])
    assert allowed.host("docs.acme.internal")
    assert allowed.host("a.lab.internal")
    assert not allowed.host("acme.internal")
    assert allowed.address("10.1.2.3")
    assert allowed.address("::ffff:10.1.2.3")
    assert allowed.address("192.168.1.7")
    assert not allowed.address("192.168.1.8")
    assert not allowed.host("10.1.2.3")
    assert Permissions(["*"]).host("anything.internal")


NOTATIONS = (
    "127.0.0.1", "2130706433", "0177.0.0.1", "0x7f.1", "0x7f000001", "127.1", "0", "0.0.0.0", "localhost",
    "LOCALHOST.", "[::ffff:127.0.0.1]", "[::1]", "[::]", "①②⑦.0.0.1", "１２７.0.0.1", "internal.example",
    "user:pw@127.0.0.1", "public.example@127.0.0.1",
)  # fmt: skip


def certificate(tmp_path, host):
    """A self-signed certificate for an address: one file with certificate and key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    no_password = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    file.write_bytes(
        made.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password)
    )
    return file


@pytest.fixture
def tls_site(tmp_path):
    """URL of an https site whose certificate nobody signed, and the certificate."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<p>over TLS")

        def log_message(self, *args):
            pass

    file = certificate(tmp_path, "127.0.0.2")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = HTTPServer(("127.0.0.2", 0), Handler)
    server.handle_error = lambda *args: None
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"https://127.0.0.2:{server.server_address[1]}/", file
    server.shutdown()
    server.server_close()


def lead_inside(folder, monkeypatch, tls_site):
    """Crawl a site that tries every way inside; returns what came there, the port, the end and the rows."""
    folder.mkdir()
    made_up_names(
        monkeypatch,
        public_example=[["127.0.0.2"]],
        internal_example=[["127.0.0.1"]],
        mixed_example=[["127.0.0.1", "127.0.0.2"]],
        rebind_example=[["127.0.0.2"], ["127.0.0.1"]],
    )
    close = {"Connection": "close"}
    pages = {
        "/to-literal": None, "/to-name": None, "/to-file": redirect("file:///etc/hostname"),
        "/mixed": Page("<p>public", headers=close), "/first": Page("<p>public", headers=close),
        "/second": Page("<p>public", headers=close),
    }  # fmt: skip
    with serve(pages, host="127.0.0.2") as public, serve({"*": "secret"}, port=public.port) as internal:
        port = public.port
        inside = [f"http://{notation}:{port}/" for notation in NOTATIONS]
        public.pages["/to-literal"] = redirect(f"http://127.0.0.1:{port}/redirected")
        public.pages["/to-name"] = redirect(f"http://internal.example:{port}/redirected", 307)
        public.pages["/"] = Page(
            links(
                *inside, "/to-literal", "/to-name", "/to-file", f"http://mixed.example:{port}/mixed",
                f"http://rebind.example:{port}/first", f"http://rebind.example:{port}/second",
                tls_site[0], "file:///etc/hostname", "ftp://internal.example/x", "data:text/html,x", "//169.254.169.254/latest",
            ),
            headers=close,
        )  # fmt: skip
        monkeypatch.setenv("http_proxy", internal.url)
        monkeypatch.setenv("HTTPS_PROXY", internal.url)
        end, rows = run(folder, f"http://public.example:{port}/", "127.0.0.2/32")

    return (internal.connections, internal.said), port, end, rows


def test_no_way_leads_inside(tmp_path, monkeypatch, tls_site):
    for attempt in ("first", "second"):
        came, port, end, rows = lead_inside(tmp_path / attempt, monkeypatch, tls_site)
        if came == (0, []):
            break  # else a client of another test knocked where its server was: what a crawl does, it does again
    assert came == (0, [])
    stored = {url for url, row in rows.items() if row["page"]}
    assert {f"http://public.example:{port}/", f"http://mixed.example:{port}/mixed"} < stored
    # The name that changes its address: one of its two pages came, by the address that was looked at.
    assert len(stored) == 3
    refused = [row for row in rows.values() if "a private address" in row["error"]]
    assert f"http://internal.example:{port}/" in {row["url"] for row in refused}
    assert f"http://internal.example:{port}/redirected" in {row["url"] for row in refused}
    assert "http://169.254.169.254/latest" in {row["url"] for row in refused}
    assert {row["status"] for row in refused} == {0}
    assert "its TLS certificate is not trusted" in rows.pop(tls_site[0])["error"]
    assert all(url.startswith("http://") for url in rows)
    assert end.refused["internal.example"] == ["127.0.0.1"]
    assert any('allow_private = ["internal.example"]' in note for note in end.notes)


def run(tmp_path, url, allow_private, **options):
    job = CrawlJob(
        source="site", urls=[url], folder=str(tmp_path), allow=["*"], allow_private=[allow_private],
        **{"robots": False, "sitemap": False, **options},
    )  # fmt: skip
    events = list(crawl(job))
    assert isinstance(events[-1], CrawlEnd)
    return events[-1], {row["url"]: row for row in rows_of(events, "fetches")}


@pytest.mark.slow
def test_a_private_site_is_refused_with_the_line_to_add(tmp_path):
    with serve({"/": "<p>secret"}) as internal, pytest.raises(SourceError) as error:
        list(
            crawl(CrawlJob(source="wiki", urls=[f"http://localhost:{internal.port}/"], folder=str(tmp_path)))
        )
    assert internal.connections == 0
    assert "localhost is 127.0.0.1, a private address" in error.value.message.replace("::1", "127.0.0.1")
    assert 'under [sources.wiki]: allow_private = ["localhost"]' in error.value.hint


@pytest.mark.slow
def test_a_trusted_certificate_is_accepted(tmp_path, tls_site, monkeypatch):
    url, file = tls_site
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    _, rows = run(tmp_path, url, "127.0.0.2")
    assert rows[url]["page"]


@pytest.mark.slow
def test_robots_and_sitemaps_take_no_way_inside_either(tmp_path, monkeypatch):
    made_up_names(monkeypatch, internal_example=[["127.0.0.1"]])
    with serve({}, host="127.0.0.2") as public, serve({}, port=public.port) as internal:
        inside = f"http://internal.example:{public.port}"
        public.pages |= {
            "/": Page(links(f"{inside}/page")),
            "/robots.txt": Page(f"User-agent: *\nAllow: /\nSitemap: {inside}/sitemap.xml", "text/plain"),
            "/sitemap.xml": redirect(f"{inside}/sitemap.xml"),
        }
        end, rows = run(tmp_path, public.url, "127.0.0.2", robots=True, sitemap=True)
    assert internal.connections == 0
    assert set(rows) == {public.url}
    assert "internal.example" in end.refused
