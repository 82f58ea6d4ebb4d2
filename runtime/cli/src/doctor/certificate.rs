//! How long certificates are good, and whether they fit their keys.

use std::path::Path;

use drover_wamp::{Fingerprint, TlsFiles, TlsIdentity};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::finding::Finding;

/// Days before its end in which a certificate is to be renewed.
const SOON: i64 = 21;

const DAY: i64 = 86_400;

/// Judges when a certificate counts, which is `whose` for people.
fn judge(
    check: &'static str,
    whose: &str,
    (from, until): (i64, i64),
    now: jiff::Timestamp,
) -> Finding {
    let now = now.as_second();
    let days = (until - now) / DAY;
    let cure = "have it renewed, and put it in the place of the old one; a controller reads its \
                own again by itself";
    if now < from {
        return Finding::fail(
            check,
            format!("{whose} counts only in {} s", from - now),
            "set the clock of this host, or have another certificate made",
        );
    }
    match until - now {
        left if left <= 0 => {
            Finding::fail(check, format!("{whose} has expired {} days ago", -days), cure)
        }
        left if left < SOON * DAY => {
            Finding::warn(check, format!("{whose} expires in {days} days"), cure)
        }
        _ => Finding::ok(check, format!("{whose} is good for {days} days")),
    }
}

/// When a certificate in DER counts, in seconds since 1970.
fn validity(der: &[u8]) -> Result<(i64, i64), String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let validity = certificate.validity();
    Ok((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

/// The certificates that a router has shown; the one that ends first is told.
pub(super) fn shown(certificates: &[Vec<u8>], now: jiff::Timestamp) -> Option<Finding> {
    let check = "link.certificate";
    let times: Result<Vec<_>, _> = certificates.iter().map(|der| validity(der)).collect();
    let whose = "the certificate of the controller, or one that signed it,";
    match times {
        Ok(times) => {
            let first = times.into_iter().min_by_key(|(_, until)| *until)?;
            Some(judge(check, whose, first, now))
        }
        Err(reason) => Some(Finding::warn(
            check,
            format!("{whose} cannot be read: {reason}"),
            "have another certificate made",
        )),
    }
}

/// The PEM files of the own identity.
pub(super) fn own(files: &TlsFiles, now: jiff::Timestamp) -> Vec<Finding> {
    let check = "tls.certificate";
    let whose = format!("the certificate in {}", files.certificates.display());
    let mut findings = vec![match TlsIdentity::read(files) {
        Ok(_) => Finding::ok("tls.key", "certificate and key fit each other"),
        Err(error) => {
            let text = format!("{:#}", anyhow::Error::new(error));
            let cure = "put certificate and key in their places, each in PEM, and let the program \
                        read them";
            Finding::fail("tls.key", text, cure)
        }
    }];
    findings.extend(match in_file(&files.certificates) {
        Ok(times) => times
            .into_iter()
            .min_by_key(|(_, until)| *until)
            .map(|one| judge(check, &whose, one, now)),
        Err(reason) => {
            let cure = "put a certificate there, in PEM";
            Some(Finding::fail(check, format!("{whose} cannot be read: {reason}"), cure))
        }
    });
    findings
}

/// What the first certificate of a PEM file is known by.
pub(super) fn fingerprint(path: &Path) -> Result<Fingerprint, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let first = Pem::iter_from_buffer(&text).next().ok_or("there is none in it")?;
    first.map(|block| Fingerprint::of(&block.contents)).map_err(|error| error.to_string())
}

fn in_file(path: &Path) -> Result<Vec<(i64, i64)>, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let blocks = Pem::iter_from_buffer(&text);
    let mut found = Vec::new();
    for block in blocks {
        let block = block.map_err(|error| error.to_string())?;
        if block.label == "CERTIFICATE" {
            found.push(validity(&block.contents)?);
        }
    }
    if found.is_empty() { Err("there is none in it".to_owned()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn a_certificate_is_to_be_renewed_weeks_before_its_end() {
        let now = jiff::Timestamp::from_second(1_000_000_000).unwrap();
        let judge = |from: i64, until: i64| {
            let at = |days: i64| now.as_second() + days * DAY;
            judge("c", "it", (at(from), at(until)), now)
        };
        assert_eq!(judge(-1, 90).what, "it is good for 90 days");
        assert_eq!((judge(-1, 90).state, judge(-90, 10).state), (State::Ok, State::Warn));
        assert_eq!(judge(-90, -3).what, "it has expired 3 days ago");
        assert_eq!((judge(-90, -3).state, judge(3, 90).state), (State::Fail, State::Fail));
    }

    #[test]
    fn files_that_are_no_certificates_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles {
            certificates: dir.path().join("a.pem"),
            key: dir.path().join("a.key"),
            client_ca: None,
        };
        for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&files.certificates, text).unwrap();
            let found = own(&files, jiff::Timestamp::now());
            assert_eq!(found.len(), 2);
            assert!(found.iter().all(|one| one.state == State::Fail), "{found:?}");
        }
        assert_eq!(shown(&[], jiff::Timestamp::now()), None);
        assert_eq!(shown(&[vec![1]], jiff::Timestamp::now()).unwrap().state, State::Warn);
    }
}
