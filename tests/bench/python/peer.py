"""What the caller and the callee share: their flags and their session."""

import argparse
import os
import sys

from autobahn.twisted.wamp import ApplicationRunner
from autobahn.wamp.serializer import MsgPackSerializer

# What is called. The name of the serializer keeps the two pairs apart.
PROCEDURE = "bench.empty."


def flags(doc):
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--url", required=True, help="WebSocket address of the router")
    parser.add_argument("--realm", required=True)
    parser.add_argument(
        "--serializer",
        required=True,
        choices=["msgpack", "default"],
        help="msgpack, or what autobahn takes unasked, as OCS does",
    )
    return parser.parse_args()


def run(arguments, session):
    serializers = [MsgPackSerializer()] if arguments.serializer == "msgpack" else None
    runner = ApplicationRunner(arguments.url, arguments.realm, serializers=serializers)
    runner.run(session, log_level="error")


def tell(line):
    """Hands a line to the benchmark, which reads standard output.

    autobahn turns `sys.stdout` into a log, so the real one is used; and Twisted's
    standard I/O makes it non-blocking, so that a long line would end half way.
    """
    os.set_blocking(sys.__stdout__.fileno(), True)
    print(line, file=sys.__stdout__, flush=True)
