// autobahn-js in the hands of a test: any number of WAMP sessions that do what
// they are told.
//
// Standard input has one order a line, standard output one report a line, both
// JSON. README.md tells which.

"use strict";

const readline = require("node:readline");
const { createRequire } = require("node:module");

// The packages are where the set-up put them, not beside this file.
const installed = createRequire(process.argv[2] + "/package.json");
// autobahn-js uses the WebSocket of browsers, which Node has from version 22.
globalThis.WebSocket ??= installed("ws");
const autobahn = installed("autobahn");
const { JSONSerializer, MsgpackSerializer, CBORSerializer } = autobahn.serializer;

const SERIALIZERS = { json: JSONSerializer, msgpack: MsgpackSerializer, cbor: CBORSerializer };
const sessions = new Map();

function tell(report) {
  process.stdout.write(JSON.stringify(report) + "\n");
}

// `value` as JSON can say it: bytes become {"$bytes": hexadecimal}.
function packed(value) {
  if (value instanceof Uint8Array) {
    return { $bytes: Buffer.from(value).toString("hex") };
  }
  return mapped(value, packed);
}

function unpacked(value) {
  if (value?.$bytes !== undefined) {
    return Buffer.from(value.$bytes, "hex");
  }
  return mapped(value, unpacked);
}

function mapped(value, change) {
  if (Array.isArray(value)) {
    return value.map(change);
  }
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, change(inner)]));
  }
  return value;
}

function payload(args, kwargs) {
  return { args: packed(args ?? []), kwargs: packed(kwargs ?? {}) };
}

// autobahn-js gives one positional result alone as the bare value.
function result(value) {
  return value instanceof autobahn.Result
    ? payload(value.args, value.kwargs)
    : payload([value], {});
}

function failure(error) {
  if (error instanceof autobahn.Error) {
    return { uri: error.error, ...payload(error.args, error.kwargs) };
  }
  return { uri: "peer.failed", args: [String(error?.stack ?? error)], kwargs: {} };
}

const BEHAVIOURS = {
  echo: (args, kwargs) => new autobahn.Result(args, kwargs),
  refuse: (args, kwargs) => {
    throw new autobahn.Error("com.example.refused", args, kwargs);
  },
  count: ([to], _kwargs, details) => {
    for (let step = 0; step < to; step += 1) {
      details.progress([step], { of: to });
    }
    return "counted";
  },
};

const ORDERS = {
  leave: ({ connection }) => connection.close(),
  register: async ({ session }, order) => {
    await session.register(order.procedure, BEHAVIOURS[order.does], order.options);
  },
  subscribe: async ({ session }, order) => {
    const heard = (args, kwargs, details) => {
      tell({ re: order.id, event: { topic: details.topic, ...payload(args, kwargs) } });
    };
    await session.subscribe(order.topic, heard, order.options);
  },
  publish: async ({ session }, order) => {
    const options = { acknowledge: true, ...order.options };
    await session.publish(order.topic, unpacked(order.args), unpacked(order.kwargs), options);
  },
  call: ({ session }, order) =>
    new Promise((resolve, reject) => {
      const options = { ...order.options, receive_progress: order.progress };
      const progressed = (value) => tell({ re: order.id, progress: result(value) });
      session
        .call(order.procedure, unpacked(order.args), unpacked(order.kwargs), options)
        .then((value) => resolve(result(value)), reject, progressed);
    }),
};

function join(order) {
  const connection = new autobahn.Connection({
    url: order.url,
    serializers: [new SERIALIZERS[order.serializer]()],
    realm: order.realm,
    max_retries: 0,
    ...login(order.login),
  });
  connection.onopen = (session, details) => {
    sessions.set(order.session, { session, connection });
    const { protocol } = details.transport;
    const done = { id: session.id, role: details.authrole, login: details.authid };
    tell({ re: order.id, done: { ...done, serializer: protocol.replace("wamp.2.", "") } });
  };
  connection.onclose = (reason, details) => {
    const error = { uri: details.reason ?? reason, args: [details.message], kwargs: {} };
    if (sessions.delete(order.session)) {
      tell({ left: order.session, why: error });
    } else {
      tell({ re: order.id, error });
    }
    return true;
  };
  connection.open();
}

// The part of a connection's options that proves who it is.
function login(how) {
  if (how === null) {
    return {};
  }
  const { authid, method } = how;
  const proof = PROOFS[method](how);
  const onchallenge = (_session, _method, extra) => proof.answer(extra);
  return { authid, authmethods: [method], authextra: proof.authextra, onchallenge };
}

const PROOFS = {
  ticket: ({ ticket }) => ({ answer: () => ticket }),
  wampcra: ({ secret }) => ({
    answer: ({ challenge, salt, iterations, keylen }) => {
      const { sign, derive_key } = autobahn.auth_cra;
      return sign(salt ? derive_key(secret, salt, iterations, keylen) : secret, challenge);
    },
  }),
  cryptosign: ({ privkey }) => {
    const { sign_challenge, public_key } = autobahn.auth_cryptosign;
    const pair = autobahn.nacl.sign.keyPair.fromSeed(Buffer.from(privkey, "hex"));
    return {
      authextra: { pubkey: public_key(pair) },
      answer: (extra) => sign_challenge(pair, extra),
    };
  },
};

async function obey(order) {
  if (order.do === "join") {
    join(order);
    return;
  }
  try {
    const done = await ORDERS[order.do](sessions.get(order.session), order);
    tell({ re: order.id, done: done ?? null });
  } catch (error) {
    tell({ re: order.id, error: failure(error) });
  }
}

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => obey(JSON.parse(line)))
  .on("close", () => process.exit());
tell({ ready: true });
