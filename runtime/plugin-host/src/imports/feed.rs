//! `wit/feed.wit`: what a service tells whoever follows it.

use serde_json::Value;

use crate::bindings::drover::plugin::feed::{Host, PublishError};
use crate::instance::State;

/// The longest value, in bytes; see `wit/feed.wit`.
const VALUE: u32 = 64 << 10;

impl Host for State {
    async fn publish(&mut self, value: String) -> Result<(), PublishError> {
        let Some(feed) = &mut self.call.feed else { return Err(PublishError::NoService) };
        if value.len() > VALUE as usize {
            return Err(PublishError::TooLong(VALUE));
        }
        // As a text it takes a tenth of the room while it waits.
        serde_json::from_str::<Value>(&value)
            .map_err(|error| PublishError::InvalidJson(error.to_string()))?;
        feed.publish(value).await;
        Ok(())
    }
}
