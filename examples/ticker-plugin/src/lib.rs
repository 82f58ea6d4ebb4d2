//! The smallest service.

use std::time::Duration;

use drover_sdk::{data, feed, job, plugin, service};

plugin!(count);

/// Counts, and publishes each number.
///
/// Follow it with `drover service feed`.
#[service]
fn count(
    /// The first number.
    #[default(1)]
    from: u64,
    /// The time between two numbers, in milliseconds.
    #[default(1000)]
    #[schemars(range(min = 10))]
    every_ms: u64,
) -> Result<Counted, feed::PublishError> {
    let mut next = from;
    while !job::wait(Duration::from_millis(every_ms)) {
        feed::publish(&Tick { number: next })?;
        next += 1;
    }
    Ok(Counted { numbers: next - from })
}

/// What is published.
#[data]
struct Tick {
    /// One more than the one before.
    number: u64,
}

/// What a service that was stopped leaves behind.
#[data]
struct Counted {
    /// How many numbers it has published.
    numbers: u64,
}

#[cfg(test)]
mod tests {
    use drover_sdk::testing::{Host, with_host};

    use super::*;

    #[test]
    fn counts_until_it_is_stopped() {
        let host = Host { waits: 2, ..Host::default() };
        let (counted, heard) = with_host(host, || count(7, 10));
        assert_eq!(counted.unwrap().numbers, 2);
        let numbers: Vec<_> = heard.published.iter().map(|tick| &tick["number"]).collect();
        assert_eq!(numbers, [7, 8]);
    }
}
