//! Text in capitals, as it streams: an operation that is an `async fn`.

use drover_sdk::{Failure, async_streams, data, plugin, task};

plugin!(async convert);

/// Gives the input back with its letters from a to z as capitals.
///
/// Try it with `drover call NODE capitals.convert --input FILE --output FILE`.
#[task]
async fn convert() -> Result<Converted, Failure> {
    let (mut input, mut output) = (async_streams::input()?, async_streams::output()?);
    // The one buffer goes from the input to the output and comes back.
    let (mut buffer, mut bytes) = (Vec::new(), 0);
    loop {
        buffer = input.read(buffer).await;
        if buffer.is_empty() {
            return Ok(Converted { bytes });
        }
        bytes += buffer.len() as u64;
        buffer.make_ascii_uppercase();
        buffer = output.write(buffer).await?;
    }
}

/// What has gone through.
#[data]
struct Converted {
    /// How much it was.
    bytes: u64,
}

#[cfg(test)]
mod tests {
    use drover_sdk::testing::{Host, complete, with_host};

    use super::*;

    #[test]
    fn letters_come_out_as_capitals_and_the_rest_as_it_was() {
        let host = Host { input: "green tea, 2 €\n".repeat(1000).into(), ..Host::default() };
        let (converted, heard) = with_host(host, || complete(convert()));
        assert_eq!(heard.output.unwrap(), "GREEN TEA, 2 €\n".repeat(1000).as_bytes());
        assert_eq!(converted.unwrap().bytes, 17_000);
    }

    #[test]
    fn one_who_takes_no_output_is_told_how_to() {
        let host = Host { wants_no_output: true, ..Host::default() };
        let failure = with_host(host, || complete(convert())).0.err().unwrap();
        assert!(failure.message.contains("--output"), "{failure:?}");
    }

    #[test]
    fn the_host_runs_it_by_its_name() {
        let answer = with_host(Host::default(), || complete(PLUGIN.run_async("convert", "{}"))).0;
        assert_eq!(answer.unwrap(), r#"{"bytes":0}"#);
    }
}
