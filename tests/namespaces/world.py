"""All that there is on the far host: a proxy, and at another address trackers, a web seed and a seed.

``python -m tests.namespaces.world FOLDER`` prints one line of JSON, and at the end of its input another one.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from gevent.os import tp_read

import geventbt
from tests.loopback.fake_names import known
from tests.loopback.fake_trackers import FakeHttp, FakeUdp, bencoded, udp_answer
from tests.loopback.proxy_server import ProxyServer
from tests.loopback.web_server import WebServer
from tests.namespaces.hosts import OTHER, PROXY


def main(folder: Path) -> None:
    data = folder / "data.bin"
    data.write_bytes(random.Random(1).randbytes(2_000_000))
    http = FakeHttp({"": bencoded(interval=900, peers=b"")}, OTHER)
    announce = http.url(host="tracker.test")
    named = geventbt.create_torrent(data, piece_length=32768, trackers=[[announce]])
    torrent = geventbt.create_torrent(data, piece_length=32768)
    (folder / "data.torrent").write_bytes(named.to_bytes())
    (folder / "without-names.torrent").write_bytes(torrent.to_bytes())
    proxy = ProxyServer(PROXY, names={"tracker.test": OTHER, "web.test": OTHER}, login=("me", "secret"))
    with geventbt.seed(torrent, folder, (OTHER, 0), dht=False, lsd=False, port_mapping=False) as seed:
        peers = bytes(map(int, OTHER.split("."))) + (seed.port or 0).to_bytes(2, "big")
        udp = FakeUdp(lambda packet: udp_answer(packet, peers=peers), OTHER)
        web = WebServer(folder, host=OTHER)
        names = FakeUdp(lambda packet: known(packet, {"tracker.test": OTHER}), OTHER)
        ports = {
            "names": names.port,
            "proxy": proxy.port,
            "seed": seed.port,
            "http": http.port,
            "udp": udp.port,
            "web": web.port,
        }
        print(json.dumps(ports), flush=True)
        tp_read(0, 1)
        report = {"asked": proxy.asked, "http": len(http.requests), "udp": len(udp.packets)}
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
