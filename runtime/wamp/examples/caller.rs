//! Calls what the example `callee` answers.
//!
//! `cargo run --example caller -- ws://127.0.0.1:8080/ws realm1`

#![allow(clippy::print_stdout, reason = "it is what the example is for")]

use std::time::Duration;

use drover_wamp::{CallOptions, Client, ClientConfig, Payload};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:8080/ws".to_owned());
    let realm = arguments.next().unwrap_or_else(|| "realm1".to_owned());

    let client = Client::connect(&ClientConfig::new(url, realm)).await?;
    let soon = CallOptions::within(Duration::from_secs(5));
    let sum: i64 = client.call_as("com.example.add", &(19, 23), soon.clone()).await?;
    println!("19 + 23 = {sum}");

    let mut countdown = client.start("com.example.countdown", Payload::one(&5)?, soon).await?;
    while let Some(number) = countdown.next().await {
        println!("{}", number.first::<u32>()?);
    }
    println!("{}", countdown.answer().await?.first::<String>()?);
    client.close().await;
    Ok(())
}
