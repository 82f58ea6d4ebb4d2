//! `wit/state.wit`: what a plugin keeps.

use std::sync::Arc;

use crate::bindings::drover::plugin::state::{Error, Host};
use crate::instance::State;
use crate::keep::{Keep, KeepError};

impl Host for State {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, Error> {
        if self.call.allowance.state_bytes.is_some()
            && let Some(value) = self.keeps.get_now(&self.call.plugin, &key)
        {
            return Ok(value);
        }
        self.keep("state.get", key, |keep, key, _| keep.get(key)).await
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), Error> {
        self.keep("state.set", key, move |keep, key, room| keep.set(key, &value, room)).await
    }

    async fn delete(&mut self, key: String) -> Result<bool, Error> {
        self.keep("state.delete", key, |keep, key, _| keep.delete(key)).await
    }

    async fn replace(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> Result<bool, Error> {
        let replace = move |keep: &Keep, key: &str, room| {
            keep.replace(key, expected.as_deref(), new.as_deref(), room)
        };
        self.keep("state.replace", key, replace).await
    }

    async fn keys(&mut self, prefix: String, after: Option<String>) -> Result<Vec<String>, Error> {
        let keys = move |keep: &Keep, prefix: &str, _| keep.keys(prefix, after.as_deref());
        self.keep("state.keys", prefix, keys).await
    }
}

impl State {
    /// Works on what this plugin keeps, where waiting for the disk stops nobody.
    async fn keep<T: Send + 'static>(
        &mut self,
        call: &str,
        key: String,
        work: impl FnOnce(&Keep, &str, u64) -> Result<T, KeepError> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(room) = self.call.allowance.state_bytes else {
            self.denied(call, &key).await;
            return Err(Error::Denied);
        };
        let (keeps, plugin) = (Arc::clone(&self.keeps), Arc::clone(&self.call.plugin));
        let done = tokio::task::spawn_blocking(move || work(&*keeps.of(&plugin)?, &key, room));
        match done.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(KeepError::InvalidKey)) => Err(Error::InvalidKey),
            Ok(Err(KeepError::NoRoom)) => {
                self.denied(call, &format!("more than {room} bytes")).await;
                Err(Error::NoRoom(room))
            }
            Ok(Err(KeepError::Failed(error))) => {
                tracing::error!(
                    plugin = &*self.call.plugin,
                    error,
                    "the state of a plugin cannot be used"
                );
                Err(Error::Failed(error))
            }
            Err(_) => Err(Error::Failed("the host is shutting down".to_owned())),
        }
    }
}
