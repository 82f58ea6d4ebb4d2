//! `cargo xtask test`: set-up, then every test.

use crate::command::{announce, cargo, run};
use crate::{build, setup};

pub(crate) fn run_tests(arguments: &[&str]) -> anyhow::Result<()> {
    setup::all()?;
    build::plugins()?;
    announce("running the tests");
    run(cargo().args(["test", "--locked", "--workspace"]).args(arguments))
}
