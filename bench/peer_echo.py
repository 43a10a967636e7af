# SPDX-License-Identifier: Apache-2.0
"""The floor, as a process of its own: bare aiohttp on uvloop that answers what it was sent."""

import argparse
import asyncio
import ssl

import uvloop
from aiohttp import web
from aiohttp.web_request import BaseRequest

from oadr.endpoints import MEDIA_TYPE


async def echo(request: BaseRequest) -> web.Response:
    """The body back, with the media type of OpenADR."""
    return web.Response(body=await request.read(), content_type=MEDIA_TYPE)


async def serve(options: argparse.Namespace) -> None:
    """Listen with mutual TLS until the process is ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(options.ca)
    context.load_cert_chain(options.cert, options.key)
    server = web.Server(echo, access_log=None)
    loop = asyncio.get_running_loop()
    await loop.create_server(server, "127.0.0.1", options.port, ssl=context)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    for name in ("cert", "key", "ca"):
        parser.add_argument(f"--{name}", required=True)
    uvloop.run(serve(parser.parse_args()))
