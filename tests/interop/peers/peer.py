"""autobahn-python in the hands of a test: any number of WAMP sessions that do
what they are told.

Standard input has one order a line, standard output one report a line, both
JSON. README.md tells which.
"""

import json
import os
import sys
import traceback

from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp.auth import create_authenticator
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.serializer import CBORSerializer, JsonSerializer, MsgPackSerializer
from autobahn.wamp.types import (
    CallOptions,
    CallResult,
    ComponentConfig,
    PublishOptions,
    RegisterOptions,
    SubscribeOptions,
)
from twisted.internet import reactor, stdio
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.protocols.basic import LineReceiver

SERIALIZERS = {"cbor": CBORSerializer, "json": JsonSerializer, "msgpack": MsgPackSerializer}


def tell(report):
    """Hands a report to the test. autobahn turns `sys.stdout` into a log."""
    print(json.dumps(report), file=sys.__stdout__, flush=True)


def packed(value):
    """`value` as JSON can say it: bytes become {"$bytes": hexadecimal}."""
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, dict):
        return {key: packed(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [packed(inner) for inner in value]
    return value


def unpacked(value):
    if isinstance(value, dict):
        if "$bytes" in value:
            return bytes.fromhex(value["$bytes"])
        return {key: unpacked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [unpacked(inner) for inner in value]
    return value


def payload(args, kwargs):
    return {"args": packed(args), "kwargs": packed(kwargs)}


class Session(ApplicationSession):
    """One session. `order` is the order to join that made it."""

    order = None

    def onConnect(self):
        login = dict(self.order["login"] or {})
        method = login.pop("method", None)
        if method is None:
            return self.join(self.order["realm"])
        self.authenticator = create_authenticator(method, **login)
        self.join(
            self.order["realm"],
            authmethods=[method],
            authid=login["authid"],
            authextra=self.authenticator.authextra,
        )

    def onChallenge(self, challenge):
        return self.authenticator.on_challenge(self, challenge)

    def onJoin(self, details):
        sessions[self.order["session"]] = self
        self.handles = {}
        self.calls = {}
        done = {"id": details.session, "role": details.authrole, "login": details.authid}
        tell({"re": self.order["id"], "done": {**done, "serializer": details.serializer}})

    def onLeave(self, details):
        error = {"uri": details.reason, "args": [details.message], "kwargs": {}}
        if sessions.get(self.order["session"]) is not self:
            tell({"re": self.order["id"], "error": error})
        else:
            tell({"left": self.order["session"], "why": error})
        super().onLeave(details)

    async def do_leave(self, order):
        await self.leave()

    async def do_register(self, order):
        procedure, does = order["procedure"], order["does"]
        options = RegisterOptions(details=True, **order.get("options", {}))
        behaviour = getattr(self, "behave_" + does)
        registration = await self.register(behaviour, procedure, options=options)
        self.handles[order["id"]] = registration.unregister

    async def do_subscribe(self, order):
        def heard(*args, details=None, **kwargs):
            event = {"topic": details.topic, "publisher": details.publisher}
            tell({"re": order["id"], "event": {**event, **payload(args, kwargs)}})

        options = SubscribeOptions(details=True, **order.get("options", {}))
        subscription = await self.subscribe(heard, order["topic"], options=options)
        self.handles[order["id"]] = subscription.unsubscribe

    async def do_undo(self, order):
        await self.handles.pop(order["of"])()

    async def do_publish(self, order):
        options = PublishOptions(acknowledge=True, **order.get("options", {}))
        args, kwargs = unpacked(order["args"]), unpacked(order["kwargs"])
        await self.publish(order["topic"], *args, options=options, **kwargs)

    async def do_call(self, order):
        def progressed(*args, **kwargs):
            tell({"re": order["id"], "progress": payload(args, kwargs)})

        progress = progressed if order.get("progress") else None
        options = CallOptions(on_progress=progress, **order.get("options", {}))
        args, kwargs = unpacked(order["args"]), unpacked(order["kwargs"])
        call = self.calls[order["id"]] = self.call(
            order["procedure"], *args, options=options, **kwargs
        )
        try:
            result = await call
        finally:
            del self.calls[order["id"]]
        if isinstance(result, CallResult):
            return payload(result.results, result.kwresults)
        # One positional result alone comes bare.
        return payload([result], {})

    async def do_cancel(self, order):
        self.calls[order["of"]].cancel()

    def behave_echo(self, *args, details=None, **kwargs):
        return CallResult(*args, **kwargs)

    def behave_refuse(self, *args, details=None, **kwargs):
        raise ApplicationError("com.example.refused", *args, **kwargs)

    def behave_count(self, to, details=None):
        for step in range(to):
            details.progress(step, of=to)
        return "counted"

    def behave_name(self, *args, details=None):
        """Names what was called, who answers and, as far as it is told, who asks."""
        procedure = details.procedure or details.registration.procedure
        caller = {"caller": details.caller, "caller_login": details.caller_authid}
        return CallResult(procedure=procedure, session=self.order["session"], **caller)

    def behave_hang(self, *args, details=None):
        """Never answers, and reports that it was called and that it was cancelled."""

        def cancelled(_):
            tell({"interrupted": self.order["session"]})

        tell({"invoked": self.order["session"]})
        return Deferred(cancelled)


def join(order):
    name, _, batched = order["serializer"].partition(".")
    serializer = SERIALIZERS[name](batched=batched == "batched")

    def create(config=None):
        session = Session(ComponentConfig(order["realm"]))
        session.order = order
        return session

    runner = ApplicationRunner(order["url"], order["realm"], serializers=[serializer])
    return runner.run(create, start_reactor=False, log_level="error")


async def obey(order):
    try:
        if order["do"] == "join":
            await join(order)
            return
        session = sessions[order["session"]]
        done = await getattr(session, "do_" + order["do"])(order)
        tell({"re": order["id"], "done": done})
    except ApplicationError as error:
        report = {"uri": error.error, **payload(error.args, error.kwargs)}
        tell({"re": order["id"], "error": report})
    except CancelledError:
        tell({"re": order["id"], "error": {"uri": "cancelled", "args": [], "kwargs": {}}})
    except Exception as error:
        traceback.print_exc(file=sys.__stderr__)
        tell({"re": order["id"], "error": {"uri": "peer.failed", "args": [str(error)], "kwargs": {}}})


class Orders(LineReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1 << 24

    def lineReceived(self, line):
        ensureDeferred(obey(json.loads(line)))

    def connectionLost(self, reason=None):
        reactor.stop()


sessions = {}
# Twisted makes what it writes to non-blocking; reports must not be cut off.
unused = os.pipe()
stdio.StandardIO(Orders(), stdout=unused[1])
tell({"ready": True})
reactor.run()
