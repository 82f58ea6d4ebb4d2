//! A plugin that sends requests. Its manifest asks for nothing: the tests pack
//! it with others.

use std::io::{Read, Write};
use std::time::Duration;

use drover_sdk::{channel, data, http, plugin, task};

plugin!(fetch, fetch_often, begin_only, upload, count, talk);

/// What came back.
#[data]
struct Answer {
    /// The status.
    status: u16,
    /// The body as text.
    body: String,
    /// The header `x-seen`.
    seen: Option<String>,
}

/// Sends a request and reads the whole answer.
#[task]
fn fetch(
    url: String,
    #[default("GET".to_owned())] method: String,
    #[default(String::new())] body: String,
    /// A header's name and value.
    header: Option<Vec<String>>,
    /// How long to wait for the answer, and for more of it.
    timeout_ms: Option<u64>,
) -> Result<Answer, http::Error> {
    let mut request = http::Request::new(method, url).body(body);
    if let Some([name, value]) = header.as_deref() {
        request = request.header(name, value);
    }
    if let Some(limit) = timeout_ms.map(Duration::from_millis) {
        request = request.timeout(limit).idle_timeout(limit);
    }
    let response = request.send()?;
    let seen = response.header("x-seen").map(str::to_owned);
    Ok(Answer { status: response.status, seen, body: response.text()? })
}

/// Sends the same request again and again; how often it was answered, and how
/// many microseconds one took.
#[task]
fn fetch_often(url: String, times: u32) -> (u32, u64) {
    let start = std::time::Instant::now();
    let answered = (0..times)
        .filter(|_| http::get(&url).send().and_then(http::Response::bytes).is_ok())
        .count();
    let each = start.elapsed().as_micros() / u128::from(times.max(1));
    (answered as u32, each as u64)
}

/// Reads only the first bytes of an answer.
#[task]
fn begin_only(url: String) -> Result<usize, drover_sdk::Failure> {
    let mut answer = http::get(url).send()?;
    let mut first = [0; 16];
    answer.read_exact(&mut first)?;
    Ok(first.len())
}

/// Sends so many bytes piece by piece.
#[task]
fn upload(url: String, bytes: usize) -> Result<String, drover_sdk::Failure> {
    let mut upload = http::post(url).upload()?;
    let piece = [b'x'; 10_000];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(piece.len());
        upload.write_all(&piece[..length])?;
        left -= length;
    }
    Ok(upload.finish()?.text()?)
}

/// Counts the bytes of an answer.
#[task]
fn count(url: String) -> Result<u64, drover_sdk::Failure> {
    let mut answer = http::get(url).send()?;
    Ok(std::io::copy(&mut answer, &mut std::io::sink())?)
}

/// Opens a stream, sends a text, ends its direction and reads to the end.
#[task]
fn talk(
    url: String,
    text: String,
    times: u32,
    #[default(String::new())] body: String,
) -> Result<(usize, String), drover_sdk::Failure> {
    let mut channel = channel::open(http::post(url).body(body), "tcp")?;
    let mut heard = Vec::new();
    for _ in 0..times {
        let mut left = text.as_bytes();
        while !left.is_empty() {
            let ready = channel.wait(true);
            if ready.can_read
                && let Some(bytes) = channel.read_now()?
            {
                heard.extend(bytes);
            }
            if ready.can_write {
                let written = channel.write(left)?;
                left = &left[written..];
            }
        }
    }
    channel.end_output()?;
    channel.read_to_end(&mut heard)?;
    let end = heard.len().saturating_sub(20);
    Ok((heard.len(), String::from_utf8_lossy(&heard[end..]).into_owned()))
}
