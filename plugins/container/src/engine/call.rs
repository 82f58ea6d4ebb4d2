//! One request to the engine, and its answer.

use std::fmt::Display;
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use drover_sdk::channel::Channel;
use drover_sdk::http::{Incoming, Response, Upload};
use drover_sdk::{Failure, Json};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::messages::Messages;
use super::transport::{self, Request};
use super::{Engine, failure, path, version};

/// The longest refusal that is read, in bytes.
const REFUSAL: u64 = 64 << 10;
/// The longest answer that is kept in memory, in bytes: a job's answer has
/// at most 16 MiB.
const ANSWER: u64 = 15 << 20;

/// A request in the making. It is an error of the engine, with its words, if
/// it answers anything but success.
pub(crate) struct Call<'a> {
    engine: &'a Engine,
    what: String,
    method: &'static str,
    path: String,
    separator: char,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        method: &'static str,
        path: String,
        what: String,
    ) -> Self {
        Self { engine, what, method, path, separator: '?', headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a parameter.
    pub(crate) fn query(mut self, name: &str, value: impl Display) -> Self {
        self.path.push(std::mem::replace(&mut self.separator, '&'));
        self.path.push_str(name);
        self.path.push('=');
        self.path.push_str(&path::query_value(&value.to_string()));
        self
    }

    /// Adds a parameter, if there is a value.
    pub(crate) fn query_if(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds a parameter whose value is JSON, unless it is empty.
    pub(crate) fn query_json<T: Serialize + Default + PartialEq>(
        self,
        name: &str,
        value: &T,
    ) -> Result<Self, Failure> {
        if *value == T::default() {
            Ok(self)
        } else {
            Ok(self.query(name, serde_json::to_string(value)?))
        }
    }

    /// Sends credentials for registries along.
    pub(crate) fn credentials(
        mut self,
        header: &'static str,
        credentials: Option<&impl Serialize>,
    ) -> Result<Self, Failure> {
        if let Some(credentials) = credentials {
            let json = serde_json::to_vec(credentials)?;
            self.headers.push((header, URL_SAFE.encode(&json)));
        }
        Ok(self)
    }

    /// Sends JSON.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, Failure> {
        self.headers.push(("content-type", "application/json".to_owned()));
        self.body = serde_json::to_vec(body)?;
        Ok(self)
    }

    /// Sends a tar archive.
    pub(crate) fn tar(mut self, archive: Vec<u8>) -> Self {
        self.headers.push(("content-type", "application/x-tar".to_owned()));
        self.body = archive;
        self
    }

    /// Sends the request and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// If the engine cannot be reached, or refuses.
    pub(crate) fn send(self) -> Result<Reply, Failure> {
        self.start()?.reply()
    }

    /// Sends the request and leaves its answer for later, so that others can be
    /// under way beside it.
    ///
    /// # Errors
    ///
    /// If the engine cannot be reached, as far as that is known by then.
    pub(crate) fn start(self) -> Result<Sent<'a>, Failure> {
        let Self { engine, what, method, path, headers, body, .. } = self;
        let versioned = format!("/v{}{path}", engine.version());
        let request = Request { method, path: versioned, headers, body };
        let sent = transport::start(&request, &what)?;
        Ok(Sent { engine, what, path, request, sent })
    }

    /// Sends the request and makes a stream in both directions of its
    /// connection. The version is settled: whoever opens a stream has asked for
    /// something before.
    ///
    /// # Errors
    ///
    /// If the engine cannot be reached, or refuses.
    pub(crate) fn open(self) -> Result<Channel, Failure> {
        let Self { engine, what, method, path, headers, body, .. } = self;
        let path = format!("/v{}{path}", engine.version());
        transport::open(&Request { method, path, headers, body }, &what)
    }
}

/// A request on its way.
pub(crate) struct Sent<'a> {
    engine: &'a Engine,
    what: String,
    /// Its path without the version.
    path: String,
    request: Request,
    sent: Upload,
}

impl Sent<'_> {
    /// Waits for the head of the answer. If the engine has been replaced by one that
    /// does not know the version, the request is sent again.
    ///
    /// # Errors
    ///
    /// If the engine cannot be reached, or refuses.
    pub(crate) fn reply(self) -> Result<Reply, Failure> {
        let Self { engine, what, path, mut request, mut sent } = self;
        let mut is_settled_anew = false;
        loop {
            let response = transport::finish(sent, &request, &what)?;
            if matches!(response.status, 200..=299 | 304) {
                return Ok(Reply { response, what });
            }
            let mut refusal = Vec::new();
            // Half a refusal is one as well.
            let _ = response.body.take(REFUSAL).read_to_end(&mut refusal);
            let words = failure::words(&refusal);
            if is_settled_anew || !version::is_refusal(response.status, &words) {
                return Err(failure::refused(response.status, &words, &what));
            }
            engine.version.set(version::settle()?);
            is_settled_anew = true;
            request.path = format!("/v{}{path}", engine.version());
            sent = transport::start(&request, &what)?;
        }
    }
}

/// What the engine answered.
pub(crate) struct Reply {
    response: Response,
    what: String,
}

impl Reply {
    /// Whether something was done: not if it was so already.
    pub(crate) fn is_changed(&self) -> bool {
        self.response.status != 304
    }

    /// A header of the answer.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.header(name)
    }

    /// Reads an answer of which this plugin knows something.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let (body, what) = self.text()?;
        serde_json::from_str(&body).map_err(|error| nonsense(&what, &error))
    }

    /// Passes an answer on as the operation's: the host sees whether it is JSON.
    pub(crate) fn pass<T>(self) -> Result<Json<T>, Failure> {
        let (json, what) = self.text()?;
        match is_whole(&json) {
            true => Ok(Json::new(json)),
            false => Err(nonsense(&what, &"it is no whole JSON")),
        }
    }

    /// An answer that becomes a part of the operation's; none if it is empty.
    pub(crate) fn part(self) -> Result<Option<Box<RawValue>>, Failure> {
        let (json, what) = self.text()?;
        let part = (!json.is_empty()).then(|| RawValue::from_string(json)).transpose();
        part.map_err(|error| nonsense(&what, &error))
    }

    /// The bytes of the answer, unless there are more than `limit`.
    pub(crate) fn bytes(self, limit: u64) -> Result<Vec<u8>, Failure> {
        let Self { response, what } = self;
        let mut body = Vec::new();
        response.body.take(limit + 1).read_to_end(&mut body).map_err(|e| broken_off(&what, &e))?;
        if body.len() as u64 > limit {
            let message = format!("cannot {what}: it is longer than {limit} bytes");
            return Err(Failure::new(failure::TOO_LONG, message));
        }
        Ok(body)
    }

    /// The messages of which the answer consists, as they come.
    pub(crate) fn messages(self) -> Messages {
        Messages::new(Box::new(self.response.body), self.what)
    }

    /// The answer, for who reads others beside it.
    pub(crate) fn into_incoming(self) -> Incoming {
        self.response.body
    }

    /// The answer as it comes.
    pub(crate) fn into_body(self) -> Box<dyn Read> {
        Box::new(self.response.body)
    }

    /// The whole answer. Text instead of bytes, so that the plugin has one parser.
    fn text(self) -> Result<(String, String), Failure> {
        let what = self.what.clone();
        let text = String::from_utf8(self.bytes(ANSWER)?);
        let mut text = text.map_err(|error| nonsense(&what, &error))?;
        // An engine ends its answers with a line end.
        text.truncate(text.trim_end().len());
        Ok((text, what))
    }
}

/// Whether a text that ought to be JSON was not cut off, nor is a page for people.
fn is_whole(json: &str) -> bool {
    let ends = (json.as_bytes().first(), json.as_bytes().last());
    json == "null" || matches!(ends, (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
}

/// The engine ended its answer too early.
pub(crate) fn broken_off(what: &str, error: &dyn Display) -> Failure {
    let message = format!("cannot {what}: the engine broke off its answer: {error}");
    Failure::new(failure::ENGINE_BROKEN, message)
}

fn nonsense(what: &str, error: &dyn Display) -> Failure {
    let message = format!("cannot {what}: the engine's answer makes no sense: {error}");
    Failure::new(failure::ENGINE_BROKEN, message)
}
