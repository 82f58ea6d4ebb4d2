//! Whole disks and their partitions, from `/sys/block`.

use std::path::Path;

use crate::bindings::drover::plugin::sysinfo::{BlockDevice, IoCounters, Partition};
use crate::system::{names, number, text};

/// What `/sys` counts in, whatever the disk's own sectors are.
const SECTOR: u64 = 512;

pub(super) fn read() -> Vec<BlockDevice> {
    let root = Path::new("/sys/block");
    names(root).iter().filter_map(|name| device(&root.join(name), name)).collect()
}

fn device(path: &Path, name: &str) -> Option<BlockDevice> {
    let size = size(path);
    let is_virtual = name.starts_with("loop") || name.starts_with("ram");
    if is_virtual && size == 0 {
        return None;
    }
    let partitions = names(path).into_iter().filter_map(|name| partition(path, &name));
    Some(BlockDevice {
        // A slash in a name is an exclamation mark in `/sys`.
        name: name.replace('!', "/"),
        model: text(path.join("device/model")),
        size,
        removable: is_set(path, "removable"),
        rotational: is_set(path, "queue/rotational"),
        read_only: is_set(path, "ro"),
        partitions: partitions.collect(),
        io: io(path),
    })
}

fn partition(disk: &Path, name: &str) -> Option<Partition> {
    let path = disk.join(name);
    path.join("partition").exists().then(|| Partition {
        name: name.replace('!', "/"),
        size: size(&path),
        io: io(&path),
    })
}

fn size(path: &Path) -> u64 {
    number::<u64>(path.join("size")).unwrap_or_default().saturating_mul(SECTOR)
}

fn is_set(path: &Path, name: &str) -> bool {
    number::<u8>(path.join(name)) == Some(1)
}

fn io(path: &Path) -> IoCounters {
    parse(&text(path.join("stat")).unwrap_or_default())
}

/// Reads a `stat` file: numbers in a row, whose meaning is their place; see
/// the kernel's Documentation/block/stat.rst.
fn parse(stat: &str) -> IoCounters {
    let fields: Vec<u64> = stat.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or_default();
    IoCounters {
        reads: field(0),
        read_bytes: field(2).saturating_mul(SECTOR),
        writes: field(4),
        written_bytes: field(6).saturating_mul(SECTOR),
        busy_ms: field(9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_their_place() {
        let io = parse(
            "  446216   784926 9550688 4382310 424847 312726 8966616 9061320 0 1873190 13458720",
        );
        assert_eq!((io.reads, io.read_bytes), (446_216, 9_550_688 * 512));
        assert_eq!((io.writes, io.written_bytes), (424_847, 8_966_616 * 512));
        assert_eq!(io.busy_ms, 1_873_190);
    }

    #[test]
    fn an_unreadable_counter_is_zero() {
        assert_eq!(parse("").reads, 0);
        assert_eq!(parse("1 x 3").read_bytes, 0);
    }

    #[test]
    fn sizes_are_those_of_proc_partitions() {
        let Some(partitions) = text("/proc/partitions") else { return };
        let sizes: Vec<(String, u64)> = partitions
            .lines()
            .filter_map(|line| {
                let fields: Vec<_> = line.split_whitespace().collect();
                Some((fields.get(3)?.to_string(), fields.get(2)?.parse().ok()?))
            })
            .collect();
        for device in read() {
            let of_parts = device.partitions.iter().map(|part| (&part.name, part.size));
            for (name, size) in of_parts.chain([(&device.name, device.size)]) {
                if let Some((_, kib)) = sizes.iter().find(|(other, _)| other == name) {
                    assert_eq!(size / 1024, *kib, "{name}");
                }
            }
        }
    }
}
