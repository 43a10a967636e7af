"""A small OpenID Connect provider on loopback, with real keys, which can be told to lie."""

import asyncio
import base64
import hashlib
import itertools
import threading
import urllib.parse
from contextlib import contextmanager

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

SECRET = "a secret/with: signs"
CLIENT = "vtn console"
RSA = rsa.generate_private_key(65537, 2048)
WEAK = rsa.generate_private_key(65537, 1024)
NUMBERS = itertools.count(1)


def keys_of(kind):
    """(a new private key, how it is published): kind is RS256, ES256, or a key of RSA."""
    if kind == "ES256":
        private = ec.generate_private_key(ec.SECP256R1())
        published = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    else:
        private = RSA if kind == "RS256" else kind
        published = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return private, published | {"kid": f"key-{next(NUMBERS)}", "use": "sig"}


class Provider:
    """Logs in whoever it is told to; `claims` and `lies` change what it says of them."""

    def __init__(self, clock):
        self.clock = clock
        self.codes = {}
        self.asked = []
        self.claims = {"sub": "s-1", "preferred_username": "Anna", "groups": ["grid-ops"]}
        self.lies = {}
        self.discovery = {}
        self.header = {}
        self.down = self.asks = False
        self.methods = ["client_secret_basic"]
        self.rotate("RS256")

    def rotate(self, kind):
        self.algorithm = kind if isinstance(kind, str) else "RS256"
        self.private, self.published = keys_of(kind)

    def app(self):
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self.discover)
        app.router.add_get("/authorize", self.authorize)
        app.router.add_post("/authorize", self.let_in)
        app.router.add_post("/token", self.token)
        app.router.add_get("/jwks", self.jwks)
        return app

    async def discover(self, request):
        if self.down:
            return web.Response(status=503, text="down for the night")
        self.asked.append("discovery")
        said = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/out",
            "token_endpoint_auth_methods_supported": self.methods,
        }
        return web.json_response(said | self.discovery)

    async def authorize(self, request):
        """Nobody is asked for a password here: whoever comes is let in, or presses a button."""
        if self.asks:
            form = '<form method="post"><button>It is me</button></form>'
            return web.Response(text=f"<!doctype html>{form}", content_type="text/html")
        return await self.let_in(request)

    async def let_in(self, request):
        query = request.query
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert query["client_id"] == CLIENT
        code = f"code-{next(NUMBERS)}"
        self.codes[code] = dict(query)
        back = {"code": code, "state": query["state"], "iss": self.issuer}
        raise web.HTTPSeeOther(f"{query['redirect_uri']}?{urllib.parse.urlencode(back)}")

    async def token(self, request):
        self.asked.append("token")
        form = await request.post()
        kind, _, given = request.headers.get("Authorization", " ").partition(" ")
        if self.methods == ["client_secret_basic"]:
            pair = base64.b64decode(given).decode() if kind == "Basic" else ":"
            name, secret = (urllib.parse.unquote(one) for one in pair.split(":"))
        else:
            name, secret = form["client_id"], form.get("client_secret")
        if (name, secret) != (CLIENT, SECRET):
            return web.json_response({"error": "invalid_client"}, status=401)
        flow = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            flow is None
            or flow["code_challenge"] != challenge
            or flow["redirect_uri"] != form["redirect_uri"]
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"access_token": "of no use", "id_token": self.id_token(flow)})

    def id_token(self, flow):
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": flow["nonce"],
            **self.claims,
            **self.lies,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"kid": self.published["kid"], **self.header}
        key, algorithm = self.private, self.header.get("alg", self.algorithm)
        if algorithm == "none":
            key = None
        if algorithm.startswith("HS"):  # signed with what everybody knows
            key = self.published["n"]
        return jwt.encode(claims, key, algorithm=algorithm, headers=header)

    async def jwks(self, request):
        self.asked.append("jwks")
        return web.json_response({"keys": [{"kty": "oct", "k": "AAAA"}, self.published]})


@contextmanager
def providing(clock):
    """A provider that listens while the block runs, in a thread: test clients hold up the loop."""
    found = Provider(clock)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    async def start():
        runner = web.AppRunner(found.app())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = run(start())
    found.issuer = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        run(runner.cleanup())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
