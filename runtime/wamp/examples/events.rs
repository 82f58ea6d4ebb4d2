//! Publishes events, and listens to everybody's, whatever happens to the router.
//!
//! `cargo run --example events -- ws://127.0.0.1:8080/ws realm1`

#![allow(clippy::print_stdout, reason = "it is what the example is for")]

use std::time::Duration;

use drover_wamp::{
    ClientConfig, Link, LinkConfig, MatchPolicy, Payload, PublishOptions, SubscribeOptions,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:8080/ws".to_owned());
    let realm = arguments.next().unwrap_or_else(|| "realm1".to_owned());

    let link = Link::open(LinkConfig::new(ClientConfig::new(url, realm)))?;
    let options = SubscribeOptions { policy: MatchPolicy::Prefix, ..Default::default() };
    let mut events = link.subscribe("com.example.", options)?;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let options = PublishOptions { exclude_me: false, ..Default::default() };
                let payload = Payload::one("tick")?;
                if let Err(error) = link.publish("com.example.clock", payload, options).await {
                    println!("not published: {error}");
                }
            }
            event = events.next() => match event {
                Some(event) => println!("{}: {:?}", event.topic, event.payload.to_json()?),
                None => return Err(format!("no longer listening: {:?}", events.status()).into()),
            },
        }
    }
}
