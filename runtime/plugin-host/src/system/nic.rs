//! Network interfaces.

use std::collections::HashMap;
use std::path::PathBuf;

use sysinfo::{InterfaceOperationalState, NetworkData, Networks};

use super::{number, text};
use crate::bindings::drover::plugin::sysinfo::{Nic, NicCounters};

/// Reads all interfaces, in the order of their names.
pub(super) fn read() -> Vec<Nic> {
    let Ok(networks) = Networks::new_with_refreshed_list() else { return Vec::new() };
    let dropped = dropped();
    let nics = networks.iter().map(|(name, data)| nic(&name.to_string_lossy(), data, &dropped));
    let mut nics: Vec<_> = nics.collect();
    nics.sort_by(|one, other| one.name.cmp(&other.name));
    nics
}

fn nic(name: &str, data: &NetworkData, dropped: &HashMap<String, (u64, u64)>) -> Nic {
    let sys = PathBuf::from("/sys/class/net").join(name);
    let (received_dropped, sent_dropped) = dropped.get(name).copied().unwrap_or_default();
    let mut addresses: Vec<_> = data.ip_networks().iter().map(ToString::to_string).collect();
    addresses.sort();
    let flags = text(sys.join("flags")).and_then(|text| parse_flags(&text));
    Nic {
        name: name.to_owned(),
        mac: data.mac_address().to_string(),
        addresses,
        is_up: match flags {
            Some(flags) => flags & IS_UP != 0,
            None => data.operational_state() == InterfaceOperationalState::Up,
        },
        // Reading these fails while the interface is down.
        carrier: number::<u8>(sys.join("carrier")).map(|carrier| carrier == 1),
        speed_mbit: number::<i64>(sys.join("speed")).and_then(known_speed),
        mtu: data.mtu(),
        received: NicCounters {
            bytes: data.total_received(),
            packets: data.total_packets_received(),
            errors: data.total_errors_on_received(),
            dropped: received_dropped,
        },
        sent: NicCounters {
            bytes: data.total_transmitted(),
            packets: data.total_packets_transmitted(),
            errors: data.total_errors_on_transmitted(),
            dropped: sent_dropped,
        },
    }
}

/// `IFF_UP` of `<net/if.h>`.
const IS_UP: u32 = 1;

fn parse_flags(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Interfaces without a speed of their own say -1 or the largest number.
fn known_speed(speed: i64) -> Option<u32> {
    u32::try_from(speed).ok().filter(|speed| (1..u32::MAX).contains(speed))
}

/// Dropped packets of each interface, received and sent.
#[cfg(target_os = "linux")]
fn dropped() -> HashMap<String, (u64, u64)> {
    let status = procfs::net::dev_status().unwrap_or_default();
    status.into_iter().map(|(name, status)| (name, (status.recv_drop, status.sent_drop))).collect()
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
fn dropped() -> HashMap<String, (u64, u64)> {
    HashMap::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_those_of_the_kernel_and_sorted() {
        let names: Vec<_> = read().into_iter().map(|nic| nic.name).collect();
        assert_eq!(names, super::super::names("/sys/class/net"));
    }

    #[test]
    fn values_are_those_of_sys() {
        for nic in read() {
            let file = |name: &str| text(format!("/sys/class/net/{}/{name}", nic.name));
            assert_eq!(Some(&nic.mac), file("address").as_ref());
            assert_eq!(Some(nic.mtu), file("mtu").and_then(|mtu| mtu.parse().ok()));
            let bytes: u64 = file("statistics/rx_bytes").unwrap().parse().unwrap();
            assert!(nic.received.bytes <= bytes, "{nic:?} {bytes}");
        }
    }

    #[test]
    fn loopback_has_its_address_with_the_prefix() {
        if let Some(loopback) = read().iter().find(|nic| nic.name == "lo" && nic.is_up) {
            assert!(loopback.addresses.iter().any(|a| a == "127.0.0.1/8"), "{loopback:?}");
            assert_eq!(loopback.mac, "00:00:00:00:00:00");
        }
    }

    #[test]
    fn unknown_speeds_are_none() {
        assert_eq!(known_speed(10_000), Some(10_000));
        for speed in [-1, 0, 4_294_967_295] {
            assert_eq!(known_speed(speed), None);
        }
    }

    #[test]
    fn flags_are_hexadecimal() {
        assert_eq!(parse_flags("0x1003"), Some(0x1003));
        assert_eq!(parse_flags("up"), None);
    }
}
