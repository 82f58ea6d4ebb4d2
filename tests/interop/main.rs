//! Interoperation with the real thing: programs of others, as they
//! come from PyPI, npm and Debian.
//!
//! `cargo xtask setup` installs them. A test whose peer is not there fails and
//! says so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod advanced;
mod autobahn_js;
mod autobahn_python;
mod crossbar;
mod logins;
mod minisign;
mod ocs;
mod prometheus;
mod readme;

use drover_tests::Site;

/// The program under test.
const DROVER: &str = env!("CARGO_BIN_EXE_drover-under-test");

/// The realm that the controller has unless its configuration says otherwise.
const REALM: &str = "drover";

/// A site with a controller.
fn site() -> Site {
    Site::start(DROVER)
}
