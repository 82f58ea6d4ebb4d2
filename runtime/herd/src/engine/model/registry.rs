//! The registries that the simulated engine can reach.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Image, Reference};

/// What was pushed, by reference; and who must log in.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    images: BTreeMap<Reference, (Image, String)>,
    /// Registries that want a user name and a password.
    guarded: BTreeMap<String, (String, String)>,
    /// Registries that are there although nothing was pushed to them.
    empty: BTreeSet<String>,
}

/// How a pull can end.
#[derive(Debug)]
pub(crate) enum Pulled {
    Image {
        image: Box<Image>,
        digest: String,
    },
    /// Nobody answers at that address.
    NoRegistry,
    NoImage,
    /// It wants a login, and there is none.
    NoLogin,
    /// It does not take the login.
    WrongLogin,
}

impl Registry {
    /// Makes an image available.
    pub(crate) fn put(&mut self, name: Reference, image: Image, digest: String) {
        self.images.insert(name, (image, digest));
    }

    pub(crate) fn add(&mut self, address: &str) {
        self.empty.insert(address.to_owned());
    }

    pub(crate) fn guard(&mut self, address: &str, user: &str, password: &str) {
        self.guarded.insert(address.to_owned(), (user.to_owned(), password.to_owned()));
        self.add(address);
    }

    /// Whether the registry of `name` lets in who shows `login`, the decoded
    /// `X-Registry-Auth`.
    pub(crate) fn lets_in(&self, name: &Reference, login: &Value) -> bool {
        let guard = name.registry().and_then(|address| self.guarded.get(address));
        guard.is_none_or(|(user, password)| {
            login["username"] == user.as_str() && login["password"] == password.as_str()
        })
    }

    pub(crate) fn pull(&self, name: &Reference, login: &Value) -> Pulled {
        let address = name.registry();
        let is_there = self.empty.contains(address.unwrap_or_default())
            || self.images.keys().any(|known| known.registry() == address);
        if !is_there {
            return Pulled::NoRegistry;
        }
        if !self.lets_in(name, login) {
            let has_user = login["username"].as_str().is_some_and(|user| !user.is_empty());
            return if has_user { Pulled::WrongLogin } else { Pulled::NoLogin };
        }
        match self.images.get(name) {
            Some((image, digest)) => {
                Pulled::Image { image: Box::new(image.clone()), digest: digest.clone() }
            }
            None => Pulled::NoImage,
        }
    }
}
