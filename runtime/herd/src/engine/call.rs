//! A request, taken apart.

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::upgrade::OnUpgrade;
use serde_json::Value;

use super::answer::{Answer, Refusal};
use super::model::{Filters, Outcome};

/// The oldest and the newest version of the API, the second number of `1.x`.
pub(crate) const OLDEST_API: u32 = 12;
pub(crate) const NEWEST_API: u32 = 41;

/// One request.
pub(crate) struct Call {
    pub(crate) method: String,
    /// Without the version, decoded.
    pub(crate) path: String,
    version: Option<String>,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Set if the client wants to go on with a plain stream of bytes.
    pub(crate) upgrade: Option<OnUpgrade>,
}

impl Call {
    pub(crate) fn new(parts: &hyper::http::request::Parts, upgrade: Option<OnUpgrade>) -> Self {
        let (version, path) = split_version(parts.uri.path());
        Self {
            method: parts.method.to_string(),
            path: decode(path, false),
            version: version.map(str::to_owned),
            query: Query::read(parts.uri.query().unwrap_or_default()),
            headers: parts.headers.clone(),
            body: Bytes::new(),
            upgrade,
        }
    }

    /// Refuses versions that the engine does not speak.
    pub(crate) fn check_version(&self) -> Result<(), Answer> {
        let Some(version) = &self.version else { return Ok(()) };
        let minor = version.strip_prefix("1.").and_then(|minor| minor.parse::<u32>().ok());
        match minor {
            // The one refusal that is no JSON, as old clients could not read it.
            Some(minor) if minor < OLDEST_API => {
                let text = format!(
                    "client version {version} is too old. Minimum supported API version is \
                     1.{OLDEST_API}, please upgrade your client to a newer version\n"
                );
                Err(Answer::whole(400, Some("text/plain; charset=utf-8"), text))
            }
            Some(OLDEST_API..=NEWEST_API) => Ok(()),
            _ => {
                let text = format!(
                    "client version {version} is too new. Maximum supported API version is \
                     1.{NEWEST_API}"
                );
                Err(Refusal::bad_request(text).into())
            }
        }
    }

    /// The body, which must be JSON.
    pub(crate) fn json(&self) -> Outcome<Value> {
        let content_type = self.headers.get(hyper::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_json = content_type.split(';').next() == Some("application/json");
        let is_absent = content_type.is_empty() && self.body.is_empty();
        if !is_json && !is_absent {
            return Err(Refusal::bad_request(format!(
                "Content-Type specified ({content_type}) must be 'application/json'"
            )));
        }
        if self.body.is_empty() {
            return Err(Refusal::internal("EOF"));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            Refusal::internal(match error.classify() {
                serde_json::error::Category::Eof => "unexpected EOF".to_owned(),
                _ => error.to_string(),
            })
        })
    }

    /// The body, or null if there is none.
    pub(crate) fn optional_json(&self) -> Outcome<Value> {
        if self.body.is_empty() { Ok(Value::Null) } else { self.json() }
    }

    pub(crate) fn filters(&self, accepted: &[&str]) -> Outcome<Filters> {
        Filters::read(self.query.text("filters"))?.check(accepted)
    }

    /// The registry login in a header, decoded.
    pub(crate) fn login(&self) -> Option<Value> {
        let header = self.headers.get("x-registry-auth")?.as_bytes();
        let encodings = [data_encoding::BASE64, data_encoding::BASE64URL];
        let decoded = encodings.iter().find_map(|encoding| encoding.decode(header).ok())?;
        serde_json::from_slice(&decoded).ok()
    }
}

/// The parameters after the question mark.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn read(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a parameter.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.0.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is set to anything but a no.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let value = self.text(name).unwrap_or_default().trim().to_ascii_lowercase();
        !["", "0", "no", "false", "none"].contains(&value.as_str())
    }

    /// A whole number, if the parameter is set.
    pub(crate) fn number(&self, name: &str) -> Outcome<Option<i64>> {
        let Some(text) = self.text(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            Refusal::internal(format!("strconv.Atoi: parsing \"{text}\": invalid syntax"))
        })
    }
}

/// Takes a version such as `/v1.41` from the front of a path.
fn split_version(path: &str) -> (Option<&str>, &str) {
    let Some((version, rest)) = path.strip_prefix("/v").and_then(|path| path.split_once('/'))
    else {
        return (None, path);
    };
    if version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.') {
        let rest = &path[path.len() - rest.len() - 1..];
        return (Some(version), rest);
    }
    (None, path)
}

fn decode(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digits = (ahead.next(), ahead.next());
        match (byte, digits) {
            (b'%', (Some(high), Some(low))) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                if let (Some(high), Some(low)) = (digit(high), digit(low)) {
                    bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                    rest = ahead;
                } else {
                    bytes.push(byte);
                }
            }
            (b'+', _) if plus_is_space => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_taken_from_the_front() {
        assert_eq!(split_version("/v1.41/info"), (Some("1.41"), "/info"));
        assert_eq!(split_version("/volumes/a"), (None, "/volumes/a"));
    }

    #[test]
    fn a_query_is_decoded() {
        let query = Query::read("filters=%7B%22a%22%3A1%7D&all=1&size=0&x=a+b");
        assert_eq!(query.text("filters"), Some("{\"a\":1}"));
        assert_eq!((query.flag("all"), query.flag("size")), (true, false));
        assert_eq!(query.text("x"), Some("a b"));
    }
}
