"""Runs pytest with a Milvus server beside it. For a network and PID namespace of their own.

    unshare --net --pid --fork --kill-child --mount-proc \\
        python tests/milvus_server.py FOLDER [pytest's arguments]

The server listens on every address, and its launcher leaves it running: both ends with the namespace.
"""

import fcntl
import os
import socket
import struct
import sys

SET_FLAGS, UP = 0x8914, 0x1
# Milliseconds. As shipped, a collection takes seconds to load, and a strong read waits for the next tick.
TICK = 20
QUICK = {
    "QUERYCOORD_CHECKSEGMENTINTERVAL": "50",
    "QUERYCOORD_CHECKCHANNELINTERVAL": "50",
    "QUERYCOORD_CHECKINDEXINTERVAL": "200",
    "QUERYCOORD_DISTPULLINTERVAL": "50",
    "QUERYCOORD_UPDATENEXTTARGETINTERVAL": "1",  # seconds, this one
}


def loopback_up() -> None:
    """A new network namespace has nothing but a loopback device, which is down."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sH14x", b"lo", UP))


def main(folder: str, *arguments: str) -> int:
    """What pytest returns."""
    import pytest
    from milvus import MilvusServer

    loopback_up()
    server = MilvusServer()
    server.set_base_dir(folder)
    server.config.set("proxy.timeTickInterval", TICK)
    os.environ.update(QUICK)  # what is not in its file, the server takes from the environment
    server.start()
    os.environ["GEOCLIP_MILVUS_URI"] = f"http://127.0.0.1:{server.listen_port}"
    return pytest.main(list(arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
