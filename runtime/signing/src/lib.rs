//! Who signed what, and what is current.
//!
//! Signatures and keys have the form of [minisign](https://jedisct1.github.io/minisign/),
//! so `minisign` and `rsign` make and check them as well. A [`SecretKey`] signs;
//! [`TrustedKeys`], from a configuration, say whose signatures count and check
//! them. What is signed is of two kinds:
//!
//! - The content of a plugin, with a [`Claim`] in the trusted comment that says
//!   which plugin and version it is. The manifest is in the content, so it is
//!   signed too.
//! - A [`Statement`]: which versions there are, each by hash and length, and
//!   which is the current one of each channel. [`read_statement`] checks its
//!   signature, [`accept`] that it is not older than what was seen before, and
//!   has not expired. [`ContentCheck`] compares bytes, as they arrive, with what
//!   it says of them.
//!
//! What stops whom, in the words of The Update Framework (`tests/attacks.rs`
//! has a test for each of the first eight, by their names):
//!
//! | attack | what stops it |
//! |---|---|
//! | arbitrary software | content counts only with a signature of a trusted key |
//! | wrong software | the claim, and the statement, bind name and version to hash and length |
//! | rollback | [`accept`] refuses a serial below the one seen |
//! | indefinite freeze | a statement expires, and is refused from then on |
//! | mix-and-match | one statement covers all plugins, and two different ones of the same serial are refused |
//! | endless data | [`ContentCheck`] takes no byte beyond the stated length; statements and signatures have limits |
//! | fast-forward | what a revoked key has stated no longer counts as seen |
//! | key compromise | `revoked` in the configuration; two keys may overlap while one replaces the other |
//! | malicious mirror | whoever delivers holds no key: they can withhold until the statement expires, and no more |
//! | extraneous dependencies | plugins have none |
//!
//! Slow retrieval is for whoever fetches, with a deadline of their own.
//!
//! Everything here is a pure function of its arguments, `now` included, except
//! that [`SecretKey`]s are made of the system's randomness.

#![forbid(unsafe_code)]

mod claim;
mod content;
mod freshness;
mod hash;
mod key;
mod password;
mod secret;
mod signature;
mod statement;
mod trust;

pub use claim::{Claim, ClaimError};
pub use content::{ContentCheck, ContentError};
pub use freshness::{Seen, StaleError, accept};
pub use hash::{ContentHash, HashError};
pub use key::{KeyError, KeyId, PublicKey};
pub use secret::{LockedKey, SecretKey, SecretKeyError, StoredKey, generate};
pub use signature::{MOST_SIGNATURE_BYTES, Signature, SignatureError};
pub use statement::{
    FORMAT, MOST_STATEMENT_BYTES, PluginStatement, SignedStatement, Statement, StatementError,
    VersionStatement, read_statement,
};
pub use trust::{Signed, SigningError, TrustError, TrustedKeySettings, TrustedKeys};
