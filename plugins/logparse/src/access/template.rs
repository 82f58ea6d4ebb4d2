//! What a server's configuration says of its access log, as steps to take
//! through a line.

use drover_sdk::lines::Name;

use super::{LastTime, Meaning, RequestNames, Step};

/// Whose configuration it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `log_format`, with variables such as `$status`.
    Nginx,
    /// `LogFormat`, with directives such as `%>s`.
    Apache,
}

/// The form of a line.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) names: Vec<String>,
    /// What every line begins with.
    pub(super) start: Vec<u8>,
    pub(super) steps: Vec<Step>,
    pub(super) last_time: LastTime,
}

const NGINX_COMBINED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;
const COMMON: &str = r#"%h %l %u %t "%r" %>s %b"#;
const COMBINED: &str = r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i""#;
const VHOST_COMBINED: &str = r#"%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-agent}i""#;

/// A part of a template.
enum Part {
    Literal(String),
    Variable(String),
}

impl Template {
    /// Makes a template of the name of a well-known one, or of the text in a
    /// configuration.
    ///
    /// # Errors
    ///
    /// If it cannot be told where a value ends, or there are no values.
    pub(crate) fn new(dialect: Dialect, form: &str) -> Result<Self, String> {
        let text = match (dialect, form) {
            (Dialect::Nginx, "combined") => NGINX_COMBINED,
            (Dialect::Apache, "common") => COMMON,
            (Dialect::Apache, "combined") => COMBINED,
            (Dialect::Apache, "vhost_combined") => VHOST_COMBINED,
            (_, text) => text,
        };
        let parts = match dialect {
            Dialect::Nginx => nginx_parts(text),
            Dialect::Apache => apache_parts(text)?,
        };
        let mut template = Self {
            names: Vec::new(),
            start: Vec::new(),
            steps: Vec::new(),
            last_time: LastTime::default(),
        };
        let mut parts = joined(parts).into_iter().peekable();
        let mut before = String::new();
        if let Some(Part::Literal(start)) = parts.peek() {
            before.clone_from(start);
            parts.next();
        }
        template.start = before.clone().into_bytes();
        while let Some(part) = parts.next() {
            let Part::Variable(variable) = part else { continue };
            let stop = match parts.next() {
                None => String::new(),
                Some(Part::Literal(literal)) => literal,
                Some(Part::Variable(next)) => {
                    return Err(format!(
                        "nothing tells where `{variable}` ends and `{next}` begins: put a blank or a quotation mark between them in the server's configuration, and here"
                    ));
                }
            };
            let is_quoted = before.ends_with('"') && stop.starts_with('"');
            let meaning = match dialect {
                Dialect::Nginx => template.nginx_meaning(&variable),
                Dialect::Apache => template.apache_meaning(&variable),
            };
            template.steps.push(Step { meaning, is_quoted, stop: stop.clone().into_bytes() });
            before = stop;
        }
        match template.steps.is_empty() {
            true => {
                Err(format!("`{form}` has no variables: give the text of the server's log format"))
            }
            false => Ok(template),
        }
    }

    fn name(&mut self, name: &str) -> Name {
        let known = self.names.iter().position(|known| known == name);
        let index = known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        Name::of(index as u16)
    }

    fn request(&mut self) -> Meaning {
        Meaning::Request(RequestNames {
            method: self.name("method"),
            path: self.name("path"),
            query: self.name("query"),
            protocol: self.name("protocol"),
            request: self.name("request"),
        })
    }

    fn nginx_meaning(&mut self, variable: &str) -> Meaning {
        match variable {
            "remote_addr" => Meaning::Text(self.name("client")),
            "remote_user" => Meaning::Text(self.name("user")),
            "time_local" => Meaning::CommonTime,
            "time_iso8601" => Meaning::IsoTime,
            "msec" => Meaning::EpochTime,
            "request" => self.request(),
            "status" => Meaning::Status(self.name("status")),
            "body_bytes_sent" | "bytes_sent" => Meaning::Number(self.name("bytes")),
            "http_referer" => Meaning::Text(self.name("referer")),
            "http_user_agent" => Meaning::Text(self.name("agent")),
            "host" | "http_host" => Meaning::Text(self.name("host")),
            "request_method" => Meaning::Text(self.name("method")),
            "uri" => Meaning::Text(self.name("path")),
            "args" | "query_string" => Meaning::Text(self.name("query")),
            "server_protocol" => Meaning::Text(self.name("protocol")),
            "http_x_forwarded_for" => Meaning::Text(self.name("forwarded_for")),
            "request_time"
            | "upstream_response_time"
            | "upstream_connect_time"
            | "upstream_header_time" => Meaning::Seconds(self.name(variable)),
            "request_length"
            | "connection"
            | "connection_requests"
            | "pid"
            | "remote_port"
            | "server_port"
            | "upstream_status" => Meaning::Number(self.name(variable)),
            _ => Meaning::Text(self.name(variable)),
        }
    }

    fn apache_meaning(&mut self, directive: &str) -> Meaning {
        let (argument, letter) = match directive.strip_prefix('{') {
            Some(rest) => rest.split_once('}').unwrap_or((rest, "")),
            None => ("", directive),
        };
        let header = argument.to_ascii_lowercase().replace('-', "_");
        match (letter, &header[..]) {
            ("h" | "a", _) => Meaning::Text(self.name("client")),
            ("l", _) => Meaning::Text(self.name("ident")),
            ("u", _) => Meaning::Text(self.name("user")),
            ("t", "") => Meaning::CommonTime,
            ("t", "sec" | "msec" | "usec") => Meaning::EpochTime,
            ("t", _) => Meaning::Text(self.name("time")),
            ("r", _) => self.request(),
            ("s", _) => Meaning::Status(self.name("status")),
            ("b" | "B" | "O", _) => Meaning::Number(self.name("bytes")),
            ("I", _) => Meaning::Number(self.name("received_bytes")),
            ("v" | "V", _) => Meaning::Text(self.name("host")),
            ("p", _) => Meaning::Number(self.name("port")),
            ("P", _) => Meaning::Number(self.name("pid")),
            ("k", _) => Meaning::Number(self.name("keepalive_requests")),
            ("D", _) => Meaning::Number(self.name("duration_us")),
            ("T", "") => Meaning::Number(self.name("duration_s")),
            ("T", unit) => Meaning::Number(self.name(&format!("duration_{unit}"))),
            ("m", _) => Meaning::Text(self.name("method")),
            ("U", _) => Meaning::Text(self.name("path")),
            ("q", _) => Meaning::Text(self.name("query")),
            ("H", _) => Meaning::Text(self.name("protocol")),
            ("i", "referer") => Meaning::Text(self.name("referer")),
            ("i", "user_agent") => Meaning::Text(self.name("agent")),
            ("i", "host") => Meaning::Text(self.name("host")),
            ("i", "x_forwarded_for") => Meaning::Text(self.name("forwarded_for")),
            (_, "") => Meaning::Ignored,
            (_, header) => Meaning::Text(self.name(header)),
        }
    }
}

fn nginx_parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('$') {
        parts.push(Part::Literal(literal.to_owned()));
        let (braced, name) = match after.strip_prefix('{') {
            Some(inside) => (true, inside),
            None => (false, after),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = name.find(|c| !is_name(c)).unwrap_or(name.len());
        parts.push(Part::Variable(name[..length].to_owned()));
        rest = &name[length..];
        if braced {
            rest = rest.strip_prefix('}').unwrap_or(rest);
        }
    }
    parts.push(Part::Literal(rest.to_owned()));
    parts
}

fn apache_parts(text: &str) -> Result<Vec<Part>, String> {
    // In the configuration the whole text is in quotation marks.
    let text = text.replace("\\\"", "\"");
    let mut parts = Vec::new();
    let mut rest = &text[..];
    while let Some((literal, after)) = rest.split_once('%') {
        parts.push(Part::Literal(literal.to_owned()));
        if let Some(after) = after.strip_prefix('%') {
            parts.push(Part::Literal("%".to_owned()));
            rest = after;
            continue;
        }
        let after = after.trim_start_matches(|c: char| "<>!,".contains(c) || c.is_ascii_digit());
        let argument = match after.strip_prefix('{') {
            Some(inside) => inside.find('}').map_or(after.len(), |index| index + 2),
            None => 0,
        };
        let name = &after[argument..];
        // `%^ti` and `%^to` are the directives of more than one letter.
        let length = if name.starts_with('^') { 3 } else { 1 };
        let Some(letter) = name.get(..length) else {
            return Err(format!("`%{after}` at the end is no directive"));
        };
        if letter == "t" && argument == 0 {
            parts.push(Part::Literal("[".to_owned()));
            parts.push(Part::Variable("t".to_owned()));
            parts.push(Part::Literal("]".to_owned()));
        } else {
            parts.push(Part::Variable(format!("{}{letter}", &after[..argument])));
        }
        rest = &name[length..];
    }
    parts.push(Part::Literal(rest.to_owned()));
    Ok(parts)
}

/// Without empty literals, and neighbours as one.
fn joined(parts: Vec<Part>) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (_, Part::Literal(text)) if text.is_empty() => {}
            (Some(Part::Literal(before)), Part::Literal(text)) => before.push_str(&text),
            (_, part) => joined.push(part),
        }
    }
    joined
}
