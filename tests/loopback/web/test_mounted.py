"""The web interface inside programs of other frameworks, patched and unpatched, on gevent's own server."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from gevent import subprocess

from tests.loopback.web.test_gunicorn import ask
from tests.loopback.world import World, address

START = """
import sys
if "patched" in sys.argv:
    from gevent import monkey
    monkey.patch_all()
import geventbt
from geventbt.web import Answer, make_app

client = geventbt.Client(port=None, dht=False, lsd=False)
torrent = client.add("a.torrent", "out", peers=[{peer!r}])
"""
FLASK = """
from flask import Flask, Response, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

theirs = Flask("films")

@theirs.get("/film")
def film():
    answer = Answer(torrent.open(0), request.environ, etag="1")
    return Response(answer.body, answer.code, answer.headers, direct_passthrough=True)

app = DispatcherMiddleware(theirs, {"/torrents": make_app(client, "out")})
"""
DJANGO = """
import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import StreamingHttpResponse
from django.urls import path
from werkzeug.middleware.dispatcher import DispatcherMiddleware

def film(request):
    answer = Answer(torrent.open(0), request.environ, etag="1")
    return StreamingHttpResponse(answer.body, status=answer.code, headers=dict(answer.headers))

urlpatterns = [path("film", film)]
settings.configure(ROOT_URLCONF=sys.modules["__main__"], ALLOWED_HOSTS=["127.0.0.1"])
app = DispatcherMiddleware(get_wsgi_application(), {"/torrents": make_app(client, "out")})
"""
END = """
from gevent.pywsgi import WSGIServer
server = WSGIServer(("127.0.0.1", 0), app, log=None)
server.start()
print(server.server_port, flush=True)
client.serve_forever()
"""


@pytest.mark.parametrize("framework", ["flask", "django"])
@pytest.mark.parametrize("patched", ["patched", "unpatched"])
def test_it_works_below_a_path_and_in_views_of_another_framework(
    framework: str, patched: str, world: World, tmp_path: Path
) -> None:
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    torrent = world.torrent()
    (tmp_path / "a.torrent").write_bytes(torrent.to_bytes())
    program = START.format(peer=address(world.seed(torrent))) + {"flask": FLASK, "django": DJANGO}[framework] + END
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", program, patched]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
    ) as process:
        try:
            port = int(process.stdout.readline())
            data = world.data(torrent)
            assert ask(port, "/film", Range="bytes=399990-") == (206, data[399_990:400_001])
            assert ask(port, "/film") == (200, data[:400_001])
            assert ask(port, f"/torrents/stream/{torrent.swarm_hash.hex()}/0/a", Range="bytes=0-9") == (206, data[:10])
            assert b"<title>geventbt" in ask(port, "/torrents/")[1]
            assert ask(port, "/torrents/metrics")[0] == 200
            assert ask(port, "/torrents/", Host="evil.example")[0] == 421
        finally:
            process.kill()
        assert b"Traceback" not in process.stderr.read()
