"""Offers a procedure that does nothing, until it is ended."""

from autobahn.twisted.wamp import ApplicationSession

import peer

arguments = peer.flags(__doc__)


class Callee(ApplicationSession):
    async def onJoin(self, details):
        await self.register(lambda: None, peer.PROCEDURE + arguments.serializer)
        peer.tell("ready " + str(details.serializer))


peer.run(arguments, Callee)
