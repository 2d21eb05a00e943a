//! What the host is: the few facts that matching and templates may use. Read in a few small files; no process
//! is started.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// Facts about one host. They change with the host's hardware or release, never from minute to minute: the
/// same facts and the same commit give the same desired state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `ID` of os-release: `debian`.
    pub os: String,
    /// `VERSION_ID` of os-release: `12`. Empty on a release that has none yet.
    pub os_version: String,
    /// `VERSION_CODENAME` of os-release: `bookworm`.
    pub os_codename: String,
    /// Debian's word for the architecture of our own program: `amd64`, `arm64`.
    pub architecture: String,
    /// Processors that the kernel runs on.
    pub cpus: u32,
    /// Bytes of memory that the kernel has to give: somewhat less than what is built in.
    pub memory_bytes: u64,
    /// What it runs in, by systemd's words: `none` for bare metal, `kvm`, `vmware`, `amazon`, `lxc`, `docker`, …
    pub virtualisation: String,
    /// Labels that a person gave the host at enrolment.
    pub labels: BTreeMap<String, String>,
}

/// Why the facts of a host are not known.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// There is no os-release.
    #[error("could not read {path}, which tells the operating system")]
    OsRelease {
        /// Its path.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The system would not tell processors and memory.
    #[error("could not read the number of processors and the size of the memory: {0}")]
    Hardware(String),
}

impl Facts {
    /// The facts of the host below `root` (`/`, or a tree that is being made). Processors and memory are always
    /// those of the running machine.
    pub fn read(root: &Path, labels: BTreeMap<String, String>) -> Result<Self, FactsError> {
        let release = os_release(root)?;
        let field = |name: &str| release.get(name).cloned().unwrap_or_default();
        let wanted = RefreshKind::nothing()
            .with_memory(MemoryRefreshKind::nothing().with_ram())
            .with_cpu(CpuRefreshKind::nothing());
        let system =
            System::new_with_specifics(wanted).map_err(|error| FactsError::Hardware(error.to_string()))?;
        Ok(Facts {
            os: field("ID"),
            os_version: field("VERSION_ID"),
            os_codename: field("VERSION_CODENAME"),
            architecture: architecture(std::env::consts::ARCH).to_owned(),
            cpus: u32::try_from(system.cpus().len()).unwrap_or(u32::MAX),
            memory_bytes: system.total_memory(),
            virtualisation: virtualisation(root),
            labels,
        })
    }
}

/// The fields of os-release(5), unquoted.
fn os_release(root: &Path) -> Result<BTreeMap<String, String>, FactsError> {
    // /etc/os-release is usually a link to the second; either may be missing.
    let paths = ["etc/os-release", "usr/lib/os-release"].map(|path| root.join(path));
    let text = std::fs::read_to_string(&paths[0]).or_else(|_| std::fs::read_to_string(&paths[1]));
    let text =
        text.map_err(|source| FactsError::OsRelease { path: paths[0].display().to_string(), source })?;
    Ok(parse_os_release(&text))
}

fn parse_os_release(text: &str) -> BTreeMap<String, String> {
    let fields = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    fields.map(|(name, value)| (name.trim().to_owned(), unquote(value.trim()))).collect()
}

fn unquote(value: &str) -> String {
    let inner = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    inner.unwrap_or(value).replace('\\', "")
}

/// Debian's word for what the compiler calls an architecture.
fn architecture(word: &str) -> &str {
    match word {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "i386",
        "arm" => "armhf",
        "powerpc64" => "ppc64el",
        other => other,
    }
}

/// What the host runs in: the container if there is one, else the virtual machine. Follows the order and the
/// words of systemd-detect-virt(1), from files alone.
fn virtualisation(root: &Path) -> String {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let exists = |path: &str| root.join(path).exists();
    let container = read("run/systemd/container");
    if !container.trim().is_empty() {
        return container.trim().to_owned();
    }
    if exists("run/.containerenv") {
        return "podman".into();
    }
    if exists(".dockerenv") {
        return "docker".into();
    }
    if exists("proc/vz") && !exists("proc/bc") {
        return "openvz".into();
    }
    let dmi = ["product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"];
    let firmware = dmi.map(|name| read(&format!("sys/class/dmi/id/{name}")));
    let hypervisor =
        read("proc/cpuinfo").lines().any(|line| line.starts_with("flags") && flag(line, "hypervisor"));
    machine(&firmware, read("sys/hypervisor/type").trim(), hypervisor).to_owned()
}

fn flag(line: &str, name: &str) -> bool {
    line.split_ascii_whitespace().any(|word| word == name)
}

/// The virtual machine that the firmware's words tell of. `hypervisor_type` is the kernel's word for Xen,
/// `hypervisor_flag` whether the processor says that it is not a real one.
fn machine(firmware: &[String], hypervisor_type: &str, hypervisor_flag: bool) -> &'static str {
    // Product names before vendors: a cloud's machine is often a KVM or QEMU underneath.
    const WORDS: [(&str, &str); 18] = [
        ("Amazon EC2", "amazon"),
        ("Google Compute Engine", "google"),
        ("KVM", "kvm"),
        ("OpenStack", "kvm"),
        ("KubeVirt", "kvm"),
        ("QEMU", "qemu"),
        ("VMware", "vmware"),
        ("VMW", "vmware"),
        ("innotek GmbH", "oracle"),
        ("VirtualBox", "oracle"),
        ("Oracle Corporation", "oracle"),
        ("Xen", "xen"),
        ("Bochs", "bochs"),
        ("Parallels", "parallels"),
        ("BHYVE", "bhyve"),
        ("Hyper-V", "microsoft"),
        ("Apple Virtualization", "apple"),
        ("Virtual Machine", "microsoft"),
    ];
    // A bare-metal host of these vendors names them too.
    let real = firmware.iter().any(|text| text.contains(".metal"));
    let found = WORDS.iter().find(|(text, _)| firmware.iter().any(|field| field.trim().starts_with(text)));
    match found {
        Some((_, word)) if !real && (hypervisor_flag || *word != "amazon") => word,
        _ if hypervisor_type == "xen" => "xen",
        _ if hypervisor_flag => "vm-other",
        _ => "none",
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // makes small trees for itself
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn os_release_is_read_with_and_without_quotes() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\n# x=y\nVERSION_CODENAME=bookworm\nID='debian'\n";
        let fields = parse_os_release(text);
        assert_eq!(
            (&*fields["ID"], &*fields["VERSION_ID"], &*fields["VERSION_CODENAME"]),
            ("debian", "12", "bookworm")
        );
        assert_eq!(fields["PRETTY_NAME"], "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(fields.len(), 4);
    }

    #[test]
    fn the_facts_of_this_machine_are_plausible_and_steady() {
        let facts = Facts::read(Path::new("/"), BTreeMap::new()).unwrap();
        assert!(facts.cpus >= 1 && facts.memory_bytes > 64 << 20, "{facts:?}");
        assert!(!facts.os.is_empty() && !facts.virtualisation.is_empty() && !facts.architecture.is_empty());
        assert_eq!(facts, Facts::read(Path::new("/"), BTreeMap::new()).unwrap());
    }

    #[test]
    fn a_tree_without_os_release_is_an_error_that_names_the_file() {
        let root = tree(&[]);
        let error = Facts::read(root.path(), BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("etc/os-release"), "{error}");
    }

    #[test]
    fn the_second_os_release_counts_where_the_first_is_missing() {
        let root = tree(&[("usr/lib/os-release", "ID=debian\nVERSION_ID=13\n")]);
        let facts = Facts::read(root.path(), BTreeMap::from([("site".into(), "fra".into())])).unwrap();
        assert_eq!((&*facts.os_version, &*facts.os_codename, &*facts.labels["site"]), ("13", "", "fra"));
    }

    #[test]
    fn a_container_is_named_before_the_machine_below_it() {
        let dmi = ("sys/class/dmi/id/sys_vendor", "QEMU\n");
        let cpu = ("proc/cpuinfo", "flags\t\t: fpu hypervisor\n");
        assert_eq!(
            virtualisation(tree(&[dmi, cpu, ("run/systemd/container", "systemd-nspawn")]).path()),
            "systemd-nspawn"
        );
        assert_eq!(virtualisation(tree(&[dmi, cpu, ("run/.containerenv", "")]).path()), "podman");
        assert_eq!(virtualisation(tree(&[dmi, cpu]).path()), "qemu");
        assert_eq!(virtualisation(tree(&[cpu]).path()), "vm-other");
        assert_eq!(virtualisation(tree(&[]).path()), "none");
    }

    #[test]
    fn machines_are_told_by_their_firmware() {
        let cases: [(&[&str], &str, bool, &str); 6] = [
            (&["Standard PC (Q35 + ICH9, 2009)", "QEMU"], "", true, "qemu"),
            (&["m5.large", "Amazon EC2"], "", true, "amazon"),
            (&["m5.metal", "Amazon EC2"], "", false, "none"),
            (&["Google Compute Engine", "Google"], "", true, "google"),
            (&["VirtualBox", "innotek GmbH"], "", true, "oracle"),
            (&["PowerEdge R640", "Dell Inc."], "xen", false, "xen"),
        ];
        for (firmware, kind, flag, expected) in cases {
            let firmware: Vec<String> = firmware.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(machine(&firmware, kind, flag), expected, "{firmware:?}");
        }
    }
}
