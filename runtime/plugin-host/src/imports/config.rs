//! `wit/config.wit`: the admin's settings and secrets.

use crate::bindings::drover::plugin::config::{Error, Host};
use crate::instance::State;

impl Host for State {
    async fn get(&mut self, name: String) -> Result<String, Error> {
        if let Some(value) = self.call.allowance.settings.get(&name) {
            return Ok(value.reveal().to_owned());
        }
        self.denied("config.get", &name).await;
        Err(Error::Denied("the manifest has to ask for this name".to_owned()))
    }
}
