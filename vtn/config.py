# SPDX-License-Identifier: Apache-2.0
"""vtn.toml -> one frozen Settings."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from doorway import SettingsFault, load_settings
from vtn.accounts.permissions import Role

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
"""0 takes any free port."""
Positive = Annotated[int, msgspec.Meta(ge=1)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

Signatures = Literal["off", "when the VEN signs", "required"]
CertificateHeader = Literal["Client-Cert", "X-SSL-Client-Cert"]

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}


class VtnSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[vtn]: who we are."""

    id: Text
    """The vtnID in every message; case matters (rule 512)."""
    url: str = ""
    """Where VENs reach us; for people to read."""
    workers: Positive = 1
    """Processes that serve; more than one needs PostgreSQL (docs/scaling.md)."""


class Chain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One certificate of the VTN with its intermediates, and its key (both PEM)."""

    cert: Path
    key: Path


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[openadr.proxy]: one more listener, without TLS, for a TLS front that stands before us."""

    socket: Path | None = None
    """A Unix socket, mode 0660: who may open it is the front. Instead of host, port and peers."""
    host: str = "127.0.0.1"
    port: Port = 8445
    peers: tuple[Text, ...] = ()
    """Addresses or networks (10.0.0.0/24) of the fronts; nobody else is listened to."""
    header: CertificateHeader = "Client-Cert"
    """Where the front puts the VEN's certificate: Client-Cert (RFC 9440) or X-SSL-Client-Cert (PEM,
    percent-encoded; nginx: $ssl_client_escaped_cert). It must drop what a VEN puts there."""


class OpenAdrSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[openadr]: the listener that VENs speak to."""

    certificates: Annotated[tuple[Chain, ...], msgspec.Meta(min_length=1)]
    """An ECC and an RSA chain serve every certified VEN (rules 67 and 68)."""
    client_ca: Path
    """PEM: the roots whose VEN certificates are let in."""
    crl: tuple[Path, ...] = ()
    """Revocation lists of these authorities (PEM or DER), read again whenever a file changes."""
    proxy: ProxySettings | None = None
    host: str = "0.0.0.0"  # noqa: S104 - VENs come from outside; mutual TLS is the door
    port: Port = 8443
    max_bytes: Positive = 1024 * 1024
    """Longer bodies are refused (413)."""
    poll_interval_s: Positive = 10
    """What VENs are told in oadrRequestedOadrPollFreq (rule 403)."""
    resend_after_s: Positive = 10
    """A message handed out this long ago and not answered is handed out again."""
    signatures: Signatures = "when the VEN signs"
    """XML signatures (rule 514): VENs that register with oadrXmlSignature must sign and get signed
    answers; "required" has everybody sign, "off" lets nobody register so."""
    window_s: Positive = 60
    """How far the clock of a VEN that signs may be behind or ahead of ours."""
    push_retry_s: Positive = 300
    """The longest pause between attempts to push to a VEN that does not answer."""
    max_connections: Positive = 20_000
    """Open at once; one more, and that which has been idle longest is closed."""
    max_connections_per_certificate: Positive = 32


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[store]: the database."""

    url: Text = "sqlite:///vtn.db"
    """`sqlite:///FILE` (relative to the settings file) or `postgresql://USER@HOST/NAME`."""


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[operator.oidc]: operators log in at an OpenID Connect provider, too."""

    issuer: Text
    """As the provider writes it; /.well-known/openid-configuration stands below it."""
    client_id: Text
    console_url: Text
    """https://vtn.example:8444, as browsers reach the console. The provider must know
    /login/oidc/back below it as the redirect URI, and /login as where to go on after a log-out."""
    client_secret_file: Path | None = None
    """Mode 0600; left out for a public client, which has PKCE alone."""
    ca: Path | None = None
    """PEM: who vouches for the provider's TLS certificate; left out: whom this machine trusts."""
    name: Text = "single sign-on"
    """What the log-in page calls the provider."""
    scopes: tuple[Text, ...] = ("openid", "profile")
    name_claim: Text = "preferred_username"
    """What a user is called here, from their first log-in on."""
    roles_claim: Text = "groups"
    """A claim of the ID token, or a path to one: realm_access.roles."""
    roles: dict[str, Role] = {}
    """[operator.oidc.roles] "group at the provider" = "role". At each log-in somebody has the roles
    of their groups; without any they do not come in. Left out: only who was added with a subject
    comes in, with the roles that were given here."""

    def __post_init__(self) -> None:
        for key, url in (("issuer", self.issuer), ("console_url", self.console_url)):
            parts = urlsplit(url)
            plain = parts.scheme == "http" and is_loopback(parts.hostname or "")
            if not parts.hostname or not (parts.scheme == "https" or plain):
                raise ValueError(f"{key} must begin with https://")
            if parts.query or parts.fragment or parts.username is not None:
                raise ValueError(f"{key} must be an address without ?, # or a password")
        if "openid" not in self.scopes:
            raise ValueError('scopes must have "openid" among them')


class OperatorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[operator]: the listener of the operator's API."""

    token_file: Path
    """Holds the bearer token; mode 0600, made by `vtn init`."""
    metrics_token_file: Path | None = None
    """Holds another one, for a Prometheus that may read /metrics and nothing else."""
    host: str = "127.0.0.1"
    port: Port = 8444
    cert: Path | None = None
    """PEM, with `key`: the listener speaks HTTPS. Without, keep it on this machine."""
    key: Path | None = None
    approval: bool = False
    """Every event waits for a second person before it is published or modified."""
    approval_above_mw: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Events that ask for more than this in all, or for no power at all, wait for one."""
    oidc: OidcSettings | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) is not (self.key is None):
            raise ValueError("cert and key belong together; give both or none")


class ReportSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[reports]: what is asked of every VEN that registers its reports."""

    automatic: bool = True
    back_s: Positive = 60
    """reportBackDuration of the automatic requests."""


Days = Annotated[int, msgspec.Meta(ge=0)]
"""0 keeps for ever."""


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[retention]: how long is kept what; docs/operator.md says what that takes on the disk."""

    samples_days: Days = 400
    """Values as they were measured; after that their rollups of 15 minutes are left."""
    event_days: Days = 1130
    """Values from `event_margin_h` before until after each event, for settlement disputes."""
    event_margin_h: Days = 4
    rollup_days: Days = 3660
    audit_days: Days = 3660
    """Audit lines; events, their modifications and answers stay for ever."""

    def __post_init__(self) -> None:
        ages = [days or 10**9 for days in (self.samples_days, self.event_days, self.rollup_days)]
        if ages[0] < LEAST_SAMPLES_DAYS:
            raise ValueError(
                f"samples_days must be {LEAST_SAMPLES_DAYS} or more: a VEN that was cut off brings "
                "values a week old"
            )
        if max(ages[:2]) > ages[2]:
            raise ValueError("rollup_days must not be less than samples_days and event_days")


LEAST_SAMPLES_DAYS = 8


class EnrolmentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[enrolment]: the listener where devices get their first certificate, and renew it (EST)."""

    cert: Path
    """The authority that VENs enrol with (`certs enrolment`); `client_ca` must trust it."""
    key: Path
    trust: Path
    """PEM: who issues VTN certificates, vtn-ca.crt; the first is what the sheet's root names."""
    url: str = ""
    """https://host:port as devices reach it; left out: the host of [vtn] url, and our port."""
    host: str = "0.0.0.0"  # noqa: S104 - devices come from outside; a one-time code is the door
    port: Port = 8446
    code_hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 14)] = 24
    """How long a one-time code is good for, unless something else is asked for."""
    life_days: Annotated[int, msgspec.Meta(ge=1, le=3 * 366)] = 365
    """Of a VEN's certificate; it is renewed after two thirds of it."""


class MessageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[messages]: what was said with VENs, word by word, for the console's page Messages."""

    keep_hours: Annotated[int, msgspec.Meta(ge=0, le=24 * 31)] = 24
    """0 keeps nothing."""
    most: Positive = 50_000
    """Messages kept at most, of all VENs together; some 2 kB each."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything of vtn.toml."""

    vtn: VtnSettings
    openadr: OpenAdrSettings
    operator: OperatorSettings
    store: StoreSettings = StoreSettings()
    reports: ReportSettings = ReportSettings()
    retention: RetentionSettings = RetentionSettings()
    enrolment: EnrolmentSettings | None = None
    messages: MessageSettings = MessageSettings()


def load(path: Path) -> Settings:
    """Read vtn.toml; `store.url` comes back with its driver and an absolute SQLite file.

    Raises SettingsFault, naming the key, for a file that cannot be used.
    """
    settings = load_settings(path, Settings)
    try:
        url = store_url(settings.store.url, folder=path.resolve().parent)
    except ValueError as error:
        raise SettingsFault(f"{path}: [store] url: {error}") from error
    try:
        _check_listeners(settings)
    except ValueError as error:
        raise SettingsFault(f"{path}: {error}") from error
    return msgspec.structs.replace(settings, store=StoreSettings(url=url))


def _check_listeners(settings: Settings) -> None:
    """Raises ValueError where two listeners share a port, or anybody could play the TLS front."""
    ports = {"[openadr] port": settings.openadr.port, "[operator] port": settings.operator.port}
    proxy = settings.openadr.proxy
    if proxy is not None and proxy.socket is None:
        ports["[openadr.proxy] port"] = proxy.port
        if not proxy.peers:
            raise ValueError(
                "[openadr.proxy] peers: name the addresses of the TLS front, or give a socket."
            )
        networks(proxy.peers)
    if settings.enrolment is not None:
        ports["[enrolment] port"] = settings.enrolment.port
        enrolment_url(settings)
        if urlsplit(settings.vtn.url).scheme != "https":
            raise ValueError(
                "[vtn] url: devices that enrol are told it; write it like https://vtn.example:8443."
            )
    taken: dict[int, str] = {}
    for name, port in ports.items():
        if port and port in taken:
            raise ValueError(
                f"{name} is {port}, which is {taken[port]} already; each listener has its own."
            )
        taken[port] = name


def enrolment_url(settings: Settings) -> str:
    """Where devices enrol. Raises ValueError where nobody has said."""
    enrolment = settings.enrolment
    assert enrolment is not None
    parts = urlsplit(enrolment.url or settings.vtn.url)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("[enrolment] url: write it like https://vtn.example:8446.")
    if enrolment.url:
        return enrolment.url.rstrip("/")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"https://{host}:{enrolment.port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener at this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def networks(peers: tuple[str, ...]) -> tuple[Network, ...]:
    """Addresses and networks as such. Raises ValueError, naming the one that is none."""
    found = []
    for peer in peers:
        try:
            found.append(ipaddress.ip_network(peer))
        except ValueError as error:
            raise ValueError(f"[openadr.proxy] peers: {error}.") from error
    return tuple(found)


def store_url(text: str, *, folder: Path) -> str:
    """`sqlite:///vtn.db` -> `sqlite+aiosqlite:////folder/vtn.db`; PostgreSQL gets asyncpg.

    Raises ValueError for another database.
    """
    scheme, separator, rest = text.partition("://")
    scheme = scheme.partition("+")[0]
    driver = _DRIVERS.get(scheme)
    if not separator or driver is None:
        raise ValueError(
            f"'{text}' is no database of ours; write sqlite:///FILE or postgresql://USER@HOST/NAME."
        )
    if scheme != "sqlite":
        return f"{driver}://{rest}"
    file = rest.removeprefix("/")
    if not file:
        raise ValueError(f"'{text}' names no file; write sqlite:///vtn.db.")
    return f"{driver}:///{folder / file}"
