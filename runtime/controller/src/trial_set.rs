//! All that it takes to try a controller on a network: a self-signed certificate,
//! a configuration, and an admin with a token.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use drover_api::{NewApiToken, PutUser, Timestamp};
use drover_wamp::{Fingerprint, Secret};

use crate::{ACCESS_FILE, Config, access};

/// How long the certificate is good, in years.
const YEARS: i32 = 10;

/// What is to be made.
#[derive(Debug, Clone)]
pub struct TrialSet {
    /// The configuration file.
    pub config: PathBuf,
    /// Where the controller is to listen.
    pub listen: SocketAddr,
    /// What the controller keeps; the default's if there is none.
    pub data_dir: Option<PathBuf>,
    /// The names and addresses by which it is dialled.
    pub names: Vec<String>,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The user who may do everything.
    pub user: String,
    /// A token of this user.
    pub token: Secret,
    /// What the certificate is known by.
    pub fingerprint: Fingerprint,
}

impl TrialSet {
    /// Makes it, and overwrites nothing. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// If a file is there already, or cannot be written.
    pub fn make(&self) -> anyhow::Result<Trial> {
        let data_dir = self.data_dir.clone().unwrap_or_else(|| Config::default().data_dir);
        let data_dir = std::path::absolute(data_dir)?;
        let tls = data_dir.join("tls");
        let (certificate, key) = (tls.join("controller.pem"), tls.join("controller.key"));
        for file in [&self.config, &certificate, &key] {
            anyhow::ensure!(
                !file.exists(),
                "{} is there already: move it away to begin anew, or name another file or \
                 directory",
                file.display()
            );
        }
        let made = self.certificate().context("cannot make a certificate")?;
        let fingerprint = Fingerprint::of_pem(made.0.as_bytes())?;
        fs::create_dir_all(&tls)
            .with_context(|| format!("cannot make the directory {}", tls.display()))?;
        write(&certificate, &made.0, 0o644)?;
        write(&key, &made.1, 0o600)?;
        let token = access::add_admin(
            &data_dir.join(ACCESS_FILE),
            &PutUser {
                name: "admin".to_owned(),
                role: Some(access::ADMIN.to_owned()),
                password: None,
                keys: None,
            },
            &NewApiToken { note: "drover controller init".to_owned(), ..NewApiToken::default() },
            Timestamp::now(),
        )?;
        let text = format!(
            "# made by `drover controller init`\nlisten = {:?}\ndata_dir = {data_dir:?}\n\n\
             [tls]\ncertificate = {certificate:?}\nkey = {key:?}\n\n\
             [access]\nrequired = true\n",
            self.listen.to_string()
        );
        Config::parse(&text).context("the configuration would not work")?;
        if let Some(dir) = self.config.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::create_dir_all(dir)
                .with_context(|| format!("cannot make the directory {}", dir.display()))?;
        }
        write(&self.config, &text, 0o644)?;
        Ok(Trial { user: "admin".to_owned(), token, fingerprint })
    }

    /// A certificate that it has signed itself, and its key, as PEM.
    fn certificate(&self) -> Result<(String, String), rcgen::Error> {
        let mut params = rcgen::CertificateParams::new(self.names.clone())?;
        let common = rcgen::DnType::CommonName;
        params.distinguished_name.push(common, "drover controller");
        let year = jiff::Zoned::now().year();
        let year = i32::from(year);
        params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
        params.not_after = rcgen::date_time_ymd(year + YEARS, 1, 1);
        let key = rcgen::KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// Writes a file that was not there.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_trial_set_is_a_configuration_that_works_and_its_secrets_are_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let set = TrialSet {
            config: dir.path().join("etc/controller.toml"),
            listen: "0.0.0.0:7117".parse().unwrap(),
            data_dir: Some(dir.path().join("data")),
            names: vec!["localhost".into(), "192.0.2.7".into()],
        };
        let trial = set.make().unwrap();
        let text = fs::read_to_string(&set.config).unwrap();
        assert!(!text.contains(trial.token.reveal()));
        let config = Config::parse(&text).unwrap();
        assert!(config.access.required);
        let tls = config.tls.unwrap();
        crate::tls::read(&tls).unwrap();
        let pem = fs::read(&tls.certificate).unwrap();
        assert_eq!(Fingerprint::of_pem(&pem).unwrap(), trial.fingerprint);
        for file in [&tls.key, &config.data_dir.join(ACCESS_FILE)] {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let error = format!("{:#}", set.make().unwrap_err());
        assert!(error.contains("there already"), "{error}");
    }
}
