//! `drover controller init`: all it takes to try a controller on a network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use clap::Args;
use drover_controller::TrialSet;

use crate::credentials::{Credential, Credentials};
use crate::exit::{Exit, Failure};
use crate::output;

/// Makes a self-signed certificate, a configuration that asks everybody who they
/// are, and an admin, as whom you are logged in then. Overwrites nothing.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The configuration file to make
    #[arg(long, value_name = "FILE", default_value = "/etc/drover/controller.toml")]
    config: PathBuf,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:7117")]
    listen: SocketAddr,
    /// What the controller keeps; the usual place by default
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A name or address by which it is dialled, the best first; by default the
    /// address to listen on, or that of this host
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) fn run(command: &Init) -> Result<Exit, Failure> {
    let mut credentials = Credentials::read()?;
    let mut names = command.names.clone();
    if names.is_empty() {
        names.push(match command.listen.ip() {
            address if address.is_unspecified() => outward_address().to_string(),
            address => address.to_string(),
        });
    }
    for usual in ["localhost", "127.0.0.1"] {
        if !names.iter().any(|name| name == usual) {
            names.push(usual.to_owned());
        }
    }
    let set = TrialSet {
        config: command.config.clone(),
        listen: command.listen,
        data_dir: command.data_dir.clone(),
        names: names.clone(),
    };
    let trial = set.make()?;
    let host = match names[0].parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => names[0].clone(),
    };
    let url = format!("wss://{host}:{}/ws", command.listen.port());
    let credential = Credential::new(&trial.user, &trial.token, Some(trial.fingerprint));
    credentials.remember(&url, credential);
    let file = credentials.write()?;
    output::answer(&format!("fingerprint {}", trial.fingerprint))?;
    output::note(&format!(
        "{config} is the configuration, and {file} has your token as `admin`. Next:\n\n    \
         drover controller --config {config}\n    \
         drover node token > join.token          # then, on the host of an agent:\n    \
         drover agent --join @join.token\n    \
         drover user add NAME --role operator    # then, where this person works:\n    \
         drover login --controller {url} --fingerprint {fingerprint} --user NAME",
        config = command.config.display(),
        file = file.display(),
        fingerprint = trial.fingerprint,
    ));
    Ok(Exit::Done)
}

/// The address of this host that others see. Nothing is sent to find it.
fn outward_address() -> IpAddr {
    let find = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // An address that documents are free to use, so nobody's.
        socket.connect((Ipv4Addr::new(203, 0, 113, 1), 9))?;
        socket.local_addr()
    };
    find().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}
