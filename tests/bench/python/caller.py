"""Calls the callee's procedure and times the round trips.

Reads one order a line from standard input, `IN_FLIGHT SECONDS`, and answers
each with a line of JSON: {"seconds": …, "latencies_us": [[microseconds, count], …]}.
"""

import json
import time
from collections import Counter

from autobahn.twisted.wamp import ApplicationSession
from twisted.internet import reactor, stdio
from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.protocols.basic import LineReceiver

import peer

arguments = peer.flags(__doc__)


class Caller(ApplicationSession):
    async def onJoin(self, details):
        stdio.StandardIO(Orders(self))
        peer.tell("ready " + str(details.serializer))

    async def measure(self, in_flight, seconds):
        latencies = Counter()
        started = time.perf_counter()
        lanes = [self.lane(started + seconds, latencies) for _ in range(in_flight)]
        await DeferredList([ensureDeferred(lane) for lane in lanes], fireOnOneErrback=True)
        took = time.perf_counter() - started
        peer.tell(json.dumps({"seconds": took, "latencies_us": sorted(latencies.items())}))

    async def lane(self, until, latencies):
        """One call after the other."""
        clock = time.perf_counter
        procedure = peer.PROCEDURE + arguments.serializer
        begun = clock()
        while begun < until:
            await self.call(procedure)
            ended = clock()
            latencies[round((ended - begun) * 1e6)] += 1
            begun = ended


class Orders(LineReceiver):
    delimiter = b"\n"

    def __init__(self, session):
        self.session = session

    def lineReceived(self, line):
        in_flight, seconds = line.split()
        measured = ensureDeferred(self.session.measure(int(in_flight), float(seconds)))
        measured.addErrback(self.give_up)

    def connectionLost(self, reason=None):
        reactor.stop()

    def give_up(self, failure):
        failure.printTraceback()
        reactor.stop()


peer.run(arguments, Caller)
