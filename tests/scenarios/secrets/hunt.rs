//! Looks for secrets where none may be.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

/// The secrets that are looked for, in every form in which one can be written down.
#[derive(Default)]
pub(crate) struct Hunt {
    forms: Vec<Form>,
    /// The forms by the two bytes that they begin with.
    by_start: Vec<Vec<usize>>,
    /// What processes have shown before, so that it is looked into once.
    seen: HashSet<Vec<u8>>,
    finds: Vec<Find>,
}

/// A secret as it may be written.
struct Form {
    secret: &'static str,
    how: &'static str,
    bytes: Vec<u8>,
}

/// A place where a secret was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Find {
    pub(crate) secret: &'static str,
    pub(crate) how: &'static str,
    pub(crate) place: String,
}

impl Hunt {
    /// Looks for this from now on; what stands around it in a text may be written in
    /// another way, such as a quote in JSON.
    pub(crate) fn add(&mut self, secret: &'static str, bytes: &[u8]) {
        assert!(bytes.len() >= 12, "{secret} would be found by chance");
        let form = |how, bytes: Vec<u8>| Form { secret, how, bytes };
        let mut forms = vec![
            form("as it is", bytes.to_vec()),
            form("in hexadecimal", HEXLOWER.encode(bytes).into_bytes()),
            form("in hexadecimal", HEXUPPER.encode(bytes).into_bytes()),
        ];
        for encoding in [BASE64_NOPAD, BASE64URL_NOPAD] {
            // It may begin at any of three places of what is encoded.
            for (before, wrong) in [(0, 0), (1, 2), (2, 3)] {
                let text = encoding.encode(&[&vec![0; before][..], bytes].concat());
                let right = (before + bytes.len()) * 8 / 6;
                forms.push(form("in base64", text.as_bytes()[wrong..right].to_vec()));
            }
        }
        self.by_start.resize(1 << 16, Vec::new());
        for form in forms {
            self.by_start[start(&form.bytes)].push(self.forms.len());
            self.forms.push(form);
        }
        self.seen.clear();
    }

    /// Looks into what somebody can read.
    pub(crate) fn look_into(&mut self, place: &str, bytes: &[u8]) {
        for at in 0..bytes.len().saturating_sub(1) {
            for &form in &self.by_start[start(&bytes[at..])] {
                let Form { secret, how, bytes: form } = &self.forms[form];
                let find = || Find { secret, how, place: place.to_owned() };
                if bytes[at..].starts_with(form) && !self.finds.contains(&find()) {
                    self.finds.push(find());
                }
            }
        }
    }

    /// Looks at what every process of this host shows of itself.
    pub(crate) fn look_at_processes(&mut self) {
        for (process, path) in numbered(Path::new("/proc")) {
            // One that has ended meanwhile has nothing to read.
            let read = |path: &Path| fs::read(path).unwrap_or_default();
            let line = read(&path.join("cmdline"));
            let name = String::from_utf8_lossy(&line).replace('\0', " ");
            let tasks = numbered(&path.join("task"));
            let names = tasks.iter().map(|(_, task)| read(&task.join("comm"))).collect::<Vec<_>>();
            for (what, shown) in [
                ("command line", line),
                ("environment", read(&path.join("environ"))),
                ("threads", names.concat()),
            ] {
                if !shown.is_empty() && !self.seen.contains(&shown) {
                    self.look_into(&format!("the {what} of {process} {name}"), &shown);
                    self.seen.insert(shown);
                }
            }
        }
    }

    /// Looks through all files of a directory, and at their names.
    pub(crate) fn look_through(&mut self, dir: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let place = path.to_str().unwrap().to_owned();
            self.look_into(&format!("the name of {place}"), place.as_bytes());
            if path.is_symlink() {
                continue;
            } else if path.is_dir() {
                self.look_through(&path);
            } else if path.is_file() {
                self.look_into(&place, &fs::read(&path).unwrap());
            }
        }
    }

    /// What was found, but for what belongs where it was.
    pub(crate) fn out_of_place(&self, is_in_place: impl Fn(&Find) -> bool) -> Vec<Find> {
        self.finds.iter().filter(|find| !is_in_place(find)).cloned().collect()
    }

    /// Where a secret was found.
    pub(crate) fn places_of(&self, secret: &str) -> Vec<&str> {
        let of_it = self.finds.iter().filter(|find| find.secret == secret);
        of_it.map(|find| find.place.as_str()).collect()
    }
}

fn start(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// The entries of a directory of `/proc` that are numbers.
fn numbered(dir: &Path) -> Vec<(u32, std::path::PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect()
}

#[test]
fn a_secret_is_found_in_whatever_form_it_is_written() {
    let secret = b"hunter2-hunter2\xff?>";
    let mut hunt = Hunt::default();
    hunt.add("it", secret);
    for around in ["", "a", "ab", "abc", "abcd"] {
        let text = [around.as_bytes(), secret, around.as_bytes()].concat();
        for written in [
            text.clone(),
            HEXLOWER.encode(&text).into_bytes(),
            HEXUPPER.encode(&text).into_bytes(),
            BASE64_NOPAD.encode(&text).into_bytes(),
            BASE64URL_NOPAD.encode(&text).into_bytes(),
        ] {
            hunt.finds.clear();
            hunt.look_into("here", &written);
            assert_eq!(hunt.finds.len(), 1, "{:?}", String::from_utf8_lossy(&written));
        }
    }
    hunt.finds.clear();
    hunt.look_into("here", b"hunter2-hunter3");
    assert_eq!(hunt.out_of_place(|_| false), []);
}
