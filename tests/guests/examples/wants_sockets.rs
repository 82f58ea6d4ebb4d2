//! A plugin that wants to open connections, which no host offers: its
//! component imports `wasi:sockets`.

use std::io;
use std::net::TcpStream;

use drover_sdk::{plugin, task};

plugin!(connect);

/// Opens a connection.
#[task]
fn connect(
    /// Where to, such as `192.0.2.7:80`.
    address: String,
) -> io::Result<()> {
    TcpStream::connect(address).map(drop)
}
