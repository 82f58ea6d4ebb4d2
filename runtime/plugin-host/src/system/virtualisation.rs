//! What the node runs in: a container, a virtual machine, or neither.

use std::path::Path;

use super::text;

/// What may tell.
#[derive(Debug, Default)]
struct Signs {
    /// What a container manager wrote of itself.
    container: Option<String>,
    is_docker: bool,
    is_podman: bool,
    /// The control groups of the first process.
    cgroup: String,
    /// The maker and the product, as the firmware has them.
    firmware: String,
    /// The hypervisor that the kernel was made for, such as `xen`.
    hypervisor: Option<String>,
    kernel: String,
    /// The processor says that it is not a real one.
    is_virtual_cpu: bool,
}

/// Looks at the node.
pub(super) fn read() -> Option<String> {
    let firmware = ["sys_vendor", "product_name", "board_vendor", "bios_vendor"]
        .iter()
        .filter_map(|name| text(Path::new("/sys/class/dmi/id").join(name)));
    let cpu = text("/proc/cpuinfo").unwrap_or_default();
    let mut flags = cpu.lines().find(|line| line.starts_with("flags")).into_iter();
    let signs = Signs {
        container: text("/run/systemd/container"),
        is_docker: Path::new("/.dockerenv").exists(),
        is_podman: Path::new("/run/.containerenv").exists(),
        cgroup: text("/proc/1/cgroup").unwrap_or_default(),
        firmware: firmware.collect::<Vec<_>>().join("\n"),
        hypervisor: text("/sys/hypervisor/type"),
        kernel: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
        is_virtual_cpu: flags.any(|line| line.split(' ').any(|flag| flag == "hypervisor")),
    };
    identify(&signs).map(str::to_owned)
}

/// A container is named before the machine that it runs on.
fn identify(signs: &Signs) -> Option<&str> {
    container(signs).or_else(|| machine(signs))
}

fn container(signs: &Signs) -> Option<&str> {
    if let Some(name) = &signs.container {
        return Some(name);
    }
    if signs.is_docker {
        return Some("docker");
    }
    if signs.is_podman {
        return Some("podman");
    }
    let names = [
        ("/kubepods", "kubernetes"),
        ("/docker", "docker"),
        ("/libpod", "podman"),
        ("/lxc", "lxc"),
    ];
    let of_cgroup = names.iter().find(|(sign, _)| signs.cgroup.contains(sign));
    let is_wsl = signs.kernel.to_ascii_lowercase().contains("microsoft");
    of_cgroup.map(|(_, name)| *name).or(is_wsl.then_some("wsl"))
}

fn machine(signs: &Signs) -> Option<&str> {
    let firmware = signs.firmware.to_ascii_lowercase();
    // The more particular first: many of them are KVM underneath.
    let names = [
        ("amazon ec2", "amazon"),
        ("google compute engine", "google"),
        ("vmware", "vmware"),
        ("virtualbox", "oracle"),
        ("innotek", "oracle"),
        ("parallels", "parallels"),
        ("bhyve", "bhyve"),
        ("apple virtualization", "apple"),
        ("xen", "xen"),
        ("kvm", "kvm"),
        ("openstack", "kvm"),
        ("qemu", "qemu"),
        ("bochs", "bochs"),
        ("virtual machine", "microsoft"),
    ];
    let of_firmware = names.iter().find(|(sign, _)| firmware.contains(sign));
    let other = signs.is_virtual_cpu.then_some("unknown");
    of_firmware.map(|(_, name)| *name).or(signs.hypervisor.as_deref()).or(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firmware(text: &str) -> Signs {
        Signs { firmware: text.into(), ..Signs::default() }
    }

    #[test]
    fn bare_metal_is_nothing() {
        assert_eq!(identify(&Signs::default()), None);
        assert_eq!(identify(&firmware("Dell Inc.\nPowerEdge R640")), None);
    }

    #[test]
    fn machines_are_told_by_their_firmware() {
        for (text, expected) in [
            ("QEMU\nStandard PC (Q35 + ICH9, 2009)", "qemu"),
            ("Red Hat\nKVM", "kvm"),
            ("VMware, Inc.\nVMware7,1", "vmware"),
            ("innotek GmbH\nVirtualBox", "oracle"),
            ("Microsoft Corporation\nVirtual Machine", "microsoft"),
            ("Amazon EC2\nt3.micro", "amazon"),
            ("Google\nGoogle Compute Engine", "google"),
        ] {
            assert_eq!(identify(&firmware(text)), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_container_hides_the_machine() {
        let signs = Signs { is_docker: true, ..firmware("QEMU") };
        assert_eq!(identify(&signs), Some("docker"));
        let signs = Signs { container: Some("lxc".into()), ..firmware("QEMU") };
        assert_eq!(identify(&signs), Some("lxc"));
        let signs = Signs { cgroup: "0::/kubepods/burstable/x".into(), ..Signs::default() };
        assert_eq!(identify(&signs), Some("kubernetes"));
    }

    #[test]
    fn a_virtual_processor_alone_is_an_unknown_machine() {
        let signs = Signs { is_virtual_cpu: true, ..Signs::default() };
        assert_eq!(identify(&signs), Some("unknown"));
        let signs = Signs { hypervisor: Some("xen".into()), ..signs };
        assert_eq!(identify(&signs), Some("xen"));
    }
}
